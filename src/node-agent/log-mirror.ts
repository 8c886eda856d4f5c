import { rm } from "node:fs/promises";
import { join } from "node:path";
import { sameBytes } from "../base/bytes.ts";
import type { Log } from "../base/log.ts";
import { MeshError, messageOf } from "../base/mesh-error.ts";
import {
  type Journal,
  makeFolder,
  openFileJournal,
  readFileIfPresent,
  type WriterLock,
  writeFileAtomically,
} from "../storage/index.ts";
import {
  type CheckedCheckpoint,
  checkCheckpoint,
  type LogStep,
  type NoteVerifier,
} from "../trust-log/index.ts";

/**
 * The agent's own copy of the trust log: what it serves to its sidecars while the control plane is away, and what it
 * remembers so that nobody can put an older log in its place.
 */
export class LogMirror implements AsyncDisposable {
  readonly #folder: string;
  readonly #log: Log;
  readonly #openJournal: () => Promise<Journal>;
  #journal: Journal;
  #checkpoint: CheckedCheckpoint | undefined;

  private constructor(options: {
    folder: string;
    log: Log;
    journal: Journal;
    openJournal: () => Promise<Journal>;
    checkpoint: CheckedCheckpoint | undefined;
  }) {
    this.#folder = options.folder;
    this.#log = options.log;
    this.#journal = options.journal;
    this.#openJournal = options.openJournal;
    this.#checkpoint = options.checkpoint;
  }

  /** Opens the copy in `folder`; a damaged one is thrown away, but never the memory of how far the log had come. */
  static async open(options: {
    folder: string;
    lock: WriterLock;
    logKey: NoteVerifier;
    log: Log;
  }): Promise<LogMirror> {
    const { folder, lock, logKey, log } = options;
    await makeFolder(folder);
    const segments = join(folder, "segments");
    const openJournal = (): Promise<Journal> => openFileJournal(segments, lock);
    const note = await readFileIfPresent(join(folder, "checkpoint"));
    const checkpoint = note === undefined ? undefined : checkCheckpoint(note, logKey);
    if (checkpoint !== undefined && !checkpoint.ok)
      throw new MeshError(
        "ERR_NODE_AGENT_MEMORY",
        `${join(folder, "checkpoint")} is not a checkpoint of this log: ${checkpoint.reason}`,
      );
    const journal = await openJournal().catch(async (error: unknown) => {
      log.warn("copy of the trust log is damaged; fetching it again", { error: messageOf(error) });
      await rm(segments, { recursive: true, force: true });
      return openJournal();
    });
    return new LogMirror({ folder, log, journal, openJournal, checkpoint: checkpoint?.value });
  }

  /** The newest checkpoint that was ever kept: the log must never be shorter or another one. */
  get remembered(): CheckedCheckpoint | undefined {
    return this.#checkpoint;
  }

  /** The kept log as one step, or undefined where it does not reach its checkpoint. */
  async step(): Promise<LogStep | undefined> {
    const checkpoint = this.#checkpoint;
    if (checkpoint === undefined || this.#journal.size < checkpoint.size) return undefined;
    const entries: Uint8Array[] = [];
    for await (const entry of this.#journal.read(0, checkpoint.size)) entries.push(entry);
    return { firstIndex: 0, entries, checkpoint: checkpoint.note };
  }

  /** Entries from..to, in order. */
  read(from: number, to: number): AsyncIterable<Uint8Array> {
    return this.#journal.read(from, to);
  }

  /** Keeps a step that the follower has taken: the entries first, then the checkpoint over them. */
  async keep(step: LogStep, checkpoint: CheckedCheckpoint): Promise<void> {
    const overlap = Math.max(0, this.#journal.size - step.firstIndex);
    if (step.firstIndex > this.#journal.size || !(await this.#holds(step, overlap))) await this.#clear();
    if (step.firstIndex > this.#journal.size)
      throw new MeshError(
        "ERR_NODE_AGENT_MIRROR",
        "the copy of the trust log was lost; the log has to be read again",
      );
    const fresh = step.entries.slice(Math.max(0, this.#journal.size - step.firstIndex));
    if (fresh.length > 0) await this.#journal.appendAll(fresh);
    await writeFileAtomically(join(this.#folder, "checkpoint"), checkpoint.note, 0o600);
    this.#checkpoint = checkpoint;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#journal[Symbol.asyncDispose]();
  }

  /** Whether what is kept beyond the last checkpoint is the beginning of this step. */
  async #holds(step: LogStep, count: number): Promise<boolean> {
    let place = 0;
    for await (const kept of this.#journal.read(
      step.firstIndex,
      Math.min(step.firstIndex + count, this.#journal.size),
    )) {
      const entry = step.entries[place];
      if (entry !== undefined && !sameBytes(entry, kept)) return false;
      place += 1;
    }
    return true;
  }

  async #clear(): Promise<void> {
    this.#log.warn("copy of the trust log does not fit; fetching it again");
    await this.#journal[Symbol.asyncDispose]();
    await rm(join(this.#folder, "segments"), { recursive: true, force: true });
    this.#journal = await this.#openJournal();
  }
}
