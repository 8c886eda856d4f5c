import { rm } from "node:fs/promises";
import { join } from "node:path";
import { bytesOf, bytesOfHex, hexOf, sameBytes, textOf } from "../base/bytes.ts";
import { canonicalJson, isJsonObject, parseCanonicalJson } from "../base/canonical-json.ts";
import type { Log } from "../base/log.ts";
import { MeshError, messageOf } from "../base/mesh-error.ts";
import {
  type Journal,
  type KeptSnapshot,
  makeFolder,
  openFileJournal,
  openSnapshotFiles,
  readFileIfPresent,
  type SnapshotFiles,
  type WriterLock,
  writeFileAtomically,
} from "../storage/index.ts";
import {
  type CheckedCheckpoint,
  checkCheckpoint,
  generationOf,
  hashBytes,
  type LogStep,
  type NoteVerifier,
  type PresentedSnapshot,
  parseVerifierKey,
  type Recovery,
  type TreeHead,
  verifierKeyOf,
} from "../trust-log/index.ts";

/** What every follower is about to ask for is kept at hand: a hundred sidecars that take a step read no file. */
const recentEntriesMax = 256;

/**
 * The agent's own copy of the trust log: what it serves to its sidecars while the control plane is away, and what it
 * remembers so that nobody can put an older log in its place.
 */
export class LogMirror implements AsyncDisposable {
  readonly #folder: string;
  readonly #log: Log;
  readonly #openJournal: () => Promise<Journal>;
  readonly #snapshots: SnapshotFiles;
  #journal: Journal;
  #checkpoint: CheckedCheckpoint | undefined;
  #logKey: NoteVerifier;
  /** The tree that the present generation took up. */
  #recovered: TreeHead | undefined;
  /** The last entries that were kept; they end where the journal ends, unless there are none. */
  #recent: readonly Uint8Array[] = [];

  private constructor(options: {
    folder: string;
    log: Log;
    journal: Journal;
    openJournal: () => Promise<Journal>;
    snapshots: SnapshotFiles;
    checkpoint: CheckedCheckpoint | undefined;
    logKey: NoteVerifier;
    recovered: TreeHead | undefined;
  }) {
    this.#folder = options.folder;
    this.#log = options.log;
    this.#journal = options.journal;
    this.#openJournal = options.openJournal;
    this.#snapshots = options.snapshots;
    this.#checkpoint = options.checkpoint;
    this.#logKey = options.logKey;
    this.#recovered = options.recovered;
  }

  /** Opens the copy in `folder`; a damaged one is thrown away, but never the memory of how far the log had come. */
  static async open(options: {
    folder: string;
    lock: WriterLock;
    logKey: NoteVerifier;
    log: Log;
  }): Promise<LogMirror> {
    const { folder, lock, log } = options;
    await makeFolder(folder);
    const segments = join(folder, "segments");
    const openJournal = (): Promise<Journal> => openFileJournal(segments, lock);
    const accepted = await readGeneration(join(folder, "generation"));
    const isLater = accepted !== undefined && generationOf(accepted.logKey) >= generationOf(options.logKey);
    const logKey = isLater ? accepted.logKey : options.logKey;
    const note = await readFileIfPresent(join(folder, "checkpoint"));
    const checkpoint = note === undefined ? undefined : checkCheckpoint(note, logKey);
    // Where a recovery was accepted, the checkpoint may still be one of the generation before, which is over.
    if (checkpoint !== undefined && !checkpoint.ok && !(isLater && checkpoint.reason === "other-origin"))
      throw new MeshError(
        "ERR_NODE_AGENT_MEMORY",
        `${join(folder, "checkpoint")} is not a checkpoint of this log (${checkpoint.reason}): restore it from a backup; or, once troth log verify finds the control plane's log whole, remove it and start again: the agent fetches the log anew`,
      );
    const journal = await openJournal().catch(async (error: unknown) => {
      log.warn("copy of the trust log is damaged; fetching it again", { error: messageOf(error) });
      await rm(segments, { recursive: true, force: true });
      return openJournal();
    });
    return new LogMirror({
      folder,
      log,
      journal,
      openJournal,
      snapshots: await openSnapshotFiles(join(folder, "snapshots")),
      checkpoint: checkpoint?.ok === true ? checkpoint.value : undefined,
      logKey,
      recovered: isLater ? accepted : undefined,
    });
  }

  /** The largest tree that was ever kept of this generation: the log must never be shorter or another one. */
  get remembered(): TreeHead | undefined {
    return this.#checkpoint ?? this.#recovered;
  }

  /** The newest checkpoint that was ever kept, also where the entries under it were lost; empty before the first. */
  get note(): Uint8Array {
    return this.#checkpoint?.note ?? new Uint8Array(0);
  }

  /** The key of the newest generation that was ever accepted. */
  get logKey(): NoteVerifier {
    return this.#logKey;
  }

  /** Notes durably that people have taken the log up under another key: no earlier one counts from here on. */
  async noteRecovery({ logKey, size, root }: Recovery): Promise<void> {
    const text = canonicalJson({ logKey: verifierKeyOf(logKey), root: hexOf(root), size });
    await writeFileAtomically(join(this.#folder, "generation"), bytesOf(text), 0o600);
    this.#logKey = logKey;
    this.#recovered = { size, root };
  }

  /** What can be served from the copy: its checkpoint, where the entries reach that far. */
  get newest(): { readonly size: number; readonly checkpoint: Uint8Array } | undefined {
    const checkpoint = this.#checkpoint;
    if (checkpoint === undefined || this.#journal.size < checkpoint.size) return undefined;
    return { size: checkpoint.size, checkpoint: checkpoint.note };
  }

  /** The kept log from a size on as one step, or undefined where it does not reach its checkpoint. */
  async step(from = 0): Promise<LogStep | undefined> {
    const { newest } = this;
    if (newest === undefined) return undefined;
    const entries: Uint8Array[] = [];
    for await (const entry of this.#journal.read(from, newest.size)) entries.push(entry);
    return { firstIndex: from, entries, checkpoint: newest.checkpoint };
  }

  /** Keeps a snapshot, of whose truth it knows nothing: whoever reads it has to check it. */
  async saveSnapshot(snapshot: KeptSnapshot): Promise<void> {
    await this.#snapshots.save(snapshot);
  }

  /** The snapshot that was kept, with the entries of the copy that have to vouch for it; none past the checkpoint. */
  async snapshot(): Promise<(PresentedSnapshot & { readonly size: number }) | undefined> {
    const kept = await this.#snapshots.load();
    if (kept === undefined || kept.size >= (this.newest?.size ?? 0)) return undefined;
    const [genesisEntry] = await Array.fromAsync(this.#journal.read(0, 1));
    const [epochEntry] = await Array.fromAsync(this.#journal.read(kept.size, kept.size + 1));
    if (genesisEntry === undefined || epochEntry === undefined) return undefined;
    return { ...kept, epochEntry, genesisEntry };
  }

  /** Entries from..to, in order. */
  read(from: number, to: number): AsyncIterable<Uint8Array> {
    const first = this.#journal.size - this.#recent.length;
    if (from < first || to > this.#journal.size) return this.#journal.read(from, to);
    return inOrder(this.#recent.slice(from - first, to - first));
  }

  /**
   * Keeps a step that the follower has taken: the entries first, then the checkpoint over them. Throws where the copy
   * does not reach as far as the step begins; the follower then has to go back to what is kept.
   */
  async keep(step: LogStep, checkpoint: CheckedCheckpoint): Promise<void> {
    if (!(await this.#fits(step))) await this.clear();
    if (step.firstIndex > this.#journal.size)
      throw new MeshError(
        "ERR_NODE_AGENT_MIRROR",
        `the copy of the trust log ends at ${this.#journal.size}, before ${step.firstIndex}`,
      );
    const fresh = step.entries.slice(this.#journal.size - step.firstIndex);
    if (fresh.length > 0) {
      // None while the write is on its way: should it fail, nobody knows where the journal ends.
      const recent = [...this.#recent, ...fresh].slice(-recentEntriesMax);
      this.#recent = [];
      await this.#journal.appendAll(fresh);
      this.#recent = recent;
    }
    await writeFileAtomically(join(this.#folder, "checkpoint"), checkpoint.note, 0o600);
    this.#checkpoint = checkpoint;
  }

  /** Closes the copy and opens it again, as after a write that failed. */
  async reopen(): Promise<void> {
    this.#recent = [];
    await this.#journal[Symbol.asyncDispose]();
    this.#journal = await this.#openJournal();
  }

  /** Throws the entries away, never the memory of how far the log had come. */
  async clear(): Promise<void> {
    this.#log.warn("copy of the trust log does not fit; fetching it again");
    this.#recent = [];
    await this.#journal[Symbol.asyncDispose]();
    await rm(join(this.#folder, "segments"), { recursive: true, force: true });
    this.#journal = await this.#openJournal();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#journal[Symbol.asyncDispose]();
  }

  /** Whether what is kept of the step's range, as after a crash between entries and checkpoint, is its beginning. */
  async #fits(step: LogStep): Promise<boolean> {
    const to = Math.min(step.firstIndex + step.entries.length, this.#journal.size);
    if (step.firstIndex > to) return true;
    let place = 0;
    for await (const kept of this.#journal.read(step.firstIndex, to)) {
      const entry = step.entries[place];
      if (entry === undefined || !sameBytes(entry, kept)) return false;
      place += 1;
    }
    return true;
  }
}

async function readGeneration(
  path: string,
): Promise<(TreeHead & { readonly logKey: NoteVerifier }) | undefined> {
  const bytes = await readFileIfPresent(path);
  if (bytes === undefined) return undefined;
  const parsed = parseCanonicalJson(textOf(bytes) ?? "");
  const { logKey, root, size } = parsed.ok && isJsonObject(parsed.value) ? parsed.value : {};
  const verifier = parseVerifierKey(typeof logKey === "string" ? logKey : "");
  const rootBytes = bytesOfHex(typeof root === "string" ? root : "");
  if (!verifier.ok || rootBytes?.byteLength !== hashBytes || typeof size !== "number")
    throw new MeshError("ERR_NODE_AGENT_MEMORY", `${path} is damaged; restore it, or join the mesh again`);
  return { logKey: verifier.value, root: rootBytes, size };
}

async function* inOrder(entries: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* entries;
}
