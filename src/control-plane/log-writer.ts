import type { JsonObject } from "../base/canonical-json.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { codeOf, MeshError, messageOf } from "../base/mesh-error.ts";
import { fail, ok, type Result } from "../base/result.ts";
import type { KeptSnapshot } from "../storage/index.ts";
import {
  type EntryKind,
  type EntryRefusal,
  entryVersion,
  type FoldStop,
  foldEntry,
  formatSnapshot,
  leafHash,
  MerkleTree,
  mayBeRecovery,
  type PresentedSnapshot,
  parseEntry,
  signCheckpoint,
  signEntry,
  TrustState,
} from "../trust-log/index.ts";
import type { LogObserver } from "./control-plane-metrics.ts";
import { EpochClock } from "./epoch-clock.ts";
import type { EpochGuard } from "./epoch-guard.ts";
import type { LogKeys } from "./log-keys.ts";
import type { LogStorage } from "./log-storage.ts";
import { RecentEntries } from "./recent-entries.ts";
import { replayLog } from "./replay-log.ts";

/** How long appends are gathered before the tree is signed; far below the second that the design allows. */
const checkpointDelayMillis = 10;
const queuedAppendsMax = 16_384;
/** What is folded before it is written: one write of the journal, which takes 4 MiB. */
const batchBytesMax = 1024 * 1024;
const batchEntriesMax = 4096;
/** A snapshot is kept of the first epoch after this many entries. */
const snapshotIntervalEntries = 1024;

const removalKind = Buffer.from('"kind":"key.remove"');

/** Errors of storage that only a new start can mend, if anything can. */
const finalCodes: ReadonlySet<string> = new Set([
  "ERR_STORAGE_FENCED",
  "ERR_STORAGE_POISONED",
  "ERR_STORAGE_HEAD_CONFLICT",
]);

/** A statement that the control plane makes itself. */
export interface OwnStatement {
  readonly role: "issuer" | "sequencer";
  readonly kind: EntryKind;
  readonly body: JsonObject;
}

/** Why an entry was not ordered. It would have had no effect, so the log does not take it. */
export type AppendRefusal = EntryRefusal | FoldStop | "log-rolled-back" | "offline-only" | "last-own-key";

/** What a log writer needs. */
export interface LogWriterOptions {
  readonly storage: LogStorage;
  readonly keys: LogKeys;
  readonly clock: Clock;
  readonly log: Log;
  /** The first entries, where the journal is empty. */
  readonly genesis?: readonly Uint8Array[];
  /** 10 s unless given. */
  readonly epochIntervalMillis?: number;
  /** Whether nothing is ordered before {@link LogWriter.begin}. */
  readonly isHeld?: boolean;
  /** Told what is ordered, refused and issued. */
  readonly observer?: LogObserver;
  /** Whether the clock may go into an epoch; always, unless given. */
  readonly epochGuard?: EpochGuard;
  /** Called when no epoch is issued, with why. */
  readonly withheld?: (reason: string, detail: string) => void;
  /** Called when this writer can order nothing any more: another one has taken its place, or its files are broken. */
  readonly broken?: (error: unknown) => void;
}

/** Where the entries of an append ended, and why not all of them are in. */
interface Ordered {
  readonly size: number;
  readonly refusal: Result<never, AppendRefusal> | undefined;
}

/** Why an append ended early: an entry was refused, or could not be made. */
type Ending = { readonly refusal: Result<never, AppendRefusal> } | { readonly fault: MeshError };

/** An append that waits; its entries are made when it is its turn. */
interface QueuedAppend {
  readonly entries: () => Iterable<Uint8Array>;
  readonly resolve: (ordered: Ordered) => void;
  readonly reject: (error: MeshError) => void;
}

/**
 * The one writer of a trust log. Entries are folded before they are ordered, so what would have no effect never gets
 * in; they are acknowledged once they are on disk and a checkpoint covers them.
 */
export class LogWriter implements AsyncDisposable {
  readonly #storage: LogStorage;
  readonly #keys: LogKeys;
  readonly #epochClock: EpochClock;
  readonly #epochGuard: EpochGuard | undefined;
  readonly #withheld: (reason: string, detail: string) => void;
  readonly #log: Log;
  readonly #broken: (error: unknown) => void;
  readonly #observer: LogObserver | undefined;
  readonly #clock: Clock;
  #state = new TrustState();
  #tree = new MerkleTree();
  #newest: { readonly size: number; readonly checkpoint: Uint8Array } | undefined;
  #snapshot: (PresentedSnapshot & { readonly size: number }) | undefined;
  #genesisEntry: Uint8Array | undefined;
  readonly #recent = new RecentEntries();
  readonly #queue: QueuedAppend[] = [];
  #ordering: Promise<void> | undefined;
  /** Kinds of the entries that are being ordered, for the observer. */
  #folded: string[] = [];
  /** Whether state and tree are those of the journal; not so between a failed write and the replay after it. */
  #isSound = true;
  #signing: Promise<void> | undefined;
  #closing = false;
  /** Resolved once entries may be ordered. */
  readonly #begun = Promise.withResolvers<void>();
  /** Why nothing is ordered or signed any more. */
  #halted: string | undefined;
  #isBroken = false;
  readonly #waiting = new Set<() => void>();
  readonly #epochTimer: NodeJS.Timeout;

  private constructor(options: LogWriterOptions) {
    const { storage, keys, clock, log, epochIntervalMillis = 10_000 } = options;
    this.#broken = options.broken ?? (() => {});
    this.#observer = options.observer;
    this.#clock = clock;
    this.#storage = storage;
    this.#keys = keys;
    this.#epochClock = new EpochClock(clock);
    this.#epochGuard = options.epochGuard;
    this.#withheld = options.withheld ?? (() => {});
    this.#log = log;
    if (options.isHeld !== true) this.#begun.resolve();
    this.#epochTimer = setInterval(() => void this.#tick(), epochIntervalMillis);
  }

  /** Replays the journal, checks it against the signed head, and issues the first epoch of this run. */
  static async open(options: LogWriterOptions): Promise<LogWriter> {
    const { storage } = options;
    const writer = new LogWriter(options);
    try {
      if (storage.journal.size === 0 && options.genesis !== undefined)
        await storage.journal.appendAll(options.genesis);
      await writer.#replay();
      await options.keys.load(writer.#state);
      options.keys.assertNamed(writer.#state);
      if (storage.journal.size > 0) await writer.#signNow();
      const ticked = writer.#tick();
      if (options.isHeld !== true) await ticked;
      return writer;
    } catch (error) {
      clearInterval(writer.#epochTimer);
      throw error;
    }
  }

  /** Lets a writer that was held order entries. */
  begin(): void {
    this.#begun.resolve();
  }

  /** Orders and signs nothing from here on, for this reason: another tree of the next size was signed already. */
  halt(reason: string): void {
    this.#halted ??= reason;
    this.#begun.resolve();
  }

  /** Whether nothing is ordered any more. */
  get isHalted(): boolean {
    return this.#halted !== undefined;
  }

  /** The state at the last entry ordered; a checkpoint for it may still be on its way. */
  get state(): TrustState {
    return this.#state;
  }

  /** The newest checkpoint. */
  get newest(): { readonly size: number; readonly checkpoint: Uint8Array } | undefined {
    return this.#newest;
  }

  /** Whether storage has failed for good, so that nothing is ordered any more. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** The whole tree, for proofs and tiles. */
  get tree(): MerkleTree {
    return this.#tree;
  }

  /** Entries from..to, in order. */
  read(from: number, to: number): AsyncIterable<Uint8Array> {
    const recent = this.#recent.between(from, to);
    return recent === undefined ? this.#storage.journal.read(from, to) : each(recent);
  }

  /** The newest snapshot that followers may start from. */
  snapshot(): (PresentedSnapshot & { readonly size: number }) | undefined {
    return this.#snapshot;
  }

  /** Calls back at every new checkpoint until the returned function is called. */
  onCheckpoint(callback: () => void): () => void {
    this.#waiting.add(callback);
    return () => this.#waiting.delete(callback);
  }

  /**
   * Orders entries that others signed; resolves to the size at which they are all in and covered by a checkpoint. A
   * refusal is that of the first entry that was not taken; those before it are in.
   */
  async submit(entries: readonly Uint8Array[]): Promise<Result<number, AppendRefusal>> {
    return this.#append(() => entries);
  }

  /** Orders statements of the control plane's own. */
  async write(statements: readonly OwnStatement[]): Promise<Result<number, AppendRefusal>> {
    return this.#append(
      function* (this: LogWriter) {
        for (const statement of statements) yield this.#sign(statement);
      }.bind(this),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    clearInterval(this.#epochTimer);
    await this.#ordering;
    if (this.isHalted) return;
    try {
      await this.#covered(this.#storage.journal.size);
    } catch (error) {
      this.#log.error("trust log closed without a last checkpoint", { error: messageOf(error) });
    }
  }

  async #append(entries: () => Iterable<Uint8Array>): Promise<Result<number, AppendRefusal>> {
    if (this.#closing) throw new MeshError("ERR_CONTROL_PLANE_CLOSED", "the trust log is closing");
    if (this.#queue.length >= queuedAppendsMax)
      throw new MeshError("ERR_CONTROL_PLANE_BUSY", `${queuedAppendsMax} appends wait already`);
    const askedMillis = this.#clock.monotonicMillis();
    const { promise, resolve, reject } = Promise.withResolvers<Ordered>();
    this.#queue.push({ entries, resolve, reject });
    this.#ordering ??= this.#orderAll();
    const { size, refusal } = await promise;
    await this.#covered(size);
    this.#observer?.appended((this.#clock.monotonicMillis() - askedMillis) / 1000);
    return refusal ?? ok(size);
  }

  /**
   * Orders what waits, one batch after the other. Nothing is folded on top of a batch that is not on disk: where one
   * fails, no entry can have been judged, and no epoch digested, by a state that never came to be.
   */
  async #orderAll(): Promise<void> {
    // What is asked for in one turn goes together.
    await this.#begun.promise;
    while (this.#queue.length > 0 || !this.#isSound) {
      try {
        if (!this.#isSound) await this.#replay();
        this.#isSound = true;
      } catch (error) {
        this.#log.error("trust log not replayed", { error: messageOf(error) });
        // Tried again at the next append.
        for (const { reject } of this.#queue.splice(0)) reject(notWritten(error));
        break;
      }
      await this.#orderBatch();
    }
    this.#ordering = undefined;
  }

  async #orderBatch(): Promise<void> {
    if (this.#halted !== undefined) {
      const refusal = fail("log-rolled-back", this.#halted);
      for (const { resolve } of this.#queue.splice(0)) resolve({ size: 0, refusal });
      return;
    }
    const taken: { readonly request: QueuedAppend; readonly size: number; readonly ending?: Ending }[] = [];
    const batch: Uint8Array[] = [];
    let request: QueuedAppend | undefined;
    this.#folded = [];
    try {
      for (let bytes = 0; bytes < batchBytesMax && batch.length < batchEntriesMax; ) {
        request = this.#queue.shift();
        if (request === undefined) break;
        const before = batch.length;
        const ending = this.#foldAll(request.entries, batch);
        for (const entry of batch.slice(before)) bytes += entry.byteLength;
        taken.push({ request, size: this.#tree.size, ...(ending === undefined ? {} : { ending }) });
      }
      request = undefined;
      if (batch.length > 0) {
        await this.#storage.journal.appendAll(batch);
        this.#recent.add(batch, this.#storage.journal.size);
      }
      for (const kind of this.#folded) this.#observer?.entry({ kind });
      for (const { request: done, size, ending } of taken)
        if (ending !== undefined && "fault" in ending) done.reject(ending.fault);
        else done.resolve({ size, refusal: ending?.refusal });
    } catch (error) {
      this.#log.error("entries could not be written", { error: messageOf(error) });
      // What was folded is not on disk: the state has to become what the disk says before anything else is ordered.
      this.#isSound = false;
      this.#reportIfBroken(error);
      for (const { request: failed } of taken) failed.reject(notWritten(error));
      request?.reject(notWritten(error));
    }
  }

  /**
   * Folds entries up to the first that is refused or cannot be made, and puts those that took effect into `batch`. What
   * fails while an entry is made has touched neither state nor disk: it is the fault of that append alone.
   */
  #foldAll(entries: () => Iterable<Uint8Array>, batch: Uint8Array[]): Ending | undefined {
    let making: Iterator<Uint8Array> | undefined;
    for (;;) {
      let made: IteratorResult<Uint8Array, unknown>;
      try {
        making ??= entries()[Symbol.iterator]();
        made = making.next();
      } catch (error) {
        this.#log.error("an entry could not be made", { error: messageOf(error) });
        return { fault: notMade(error) };
      }
      if (made.done === true) return undefined;
      const refusal = this.#fold(made.value, batch);
      if (refusal !== undefined) return { refusal };
    }
  }

  #fold(entry: Uint8Array, batch: Uint8Array[]): Result<never, AppendRefusal> | undefined {
    // Under the key that it names nothing of this process would count any more.
    if (mayBeRecovery(entry))
      return this.#refuse(entry, {
        reason: "offline-only",
        detail: "a recovery begins while the control plane is stopped: troth log recover",
      });
    const removed = removedKey(entry);
    if (removed !== undefined && this.#keys.isLast(removed, this.#state))
      return this.#refuse(entry, {
        reason: "last-own-key",
        detail: `without ${removed} this control plane could not go on: troth key prepare makes the next one`,
      });
    const folded = foldEntry(this.#state, this.#tree, entry);
    if (!folded.ok) return this.#refuse(entry, folded);
    if (!folded.value.hasEffect) return this.#refuse(entry, folded.value);
    this.#folded.push(folded.value.statement.kind);
    this.#tree.append(leafHash(entry));
    batch.push(entry);
    return undefined;
  }

  #refuse(
    entry: Uint8Array,
    { reason, detail }: { readonly reason: AppendRefusal; readonly detail: string },
  ): Result<never, AppendRefusal> {
    this.#observer?.entry({ refused: entry, reason });
    return fail(reason, detail);
  }

  /** Resolves once a checkpoint covers `size`. */
  async #covered(size: number): Promise<void> {
    while ((this.#newest?.size ?? 0) < size) {
      this.#signing ??= this.#signAfterDelay();
      await this.#signing;
    }
  }

  async #signAfterDelay(): Promise<void> {
    try {
      await new Promise((resolve) => setTimeout(resolve, checkpointDelayMillis));
      await this.#signNow();
    } catch (error) {
      this.#reportIfBroken(error);
      throw error;
    } finally {
      this.#signing = undefined;
    }
  }

  #reportIfBroken(error: unknown): void {
    if (!finalCodes.has(codeOf(error) ?? "")) return;
    this.#isBroken = true;
    this.#broken(error);
  }

  /** Only what is durable is signed, and only after the head that says so is durable itself (design section 1). */
  async #signNow(): Promise<void> {
    const { size } = this.#storage.journal;
    const root = this.#tree.root(size);
    this.#assertNotHalted();
    await this.#storage.head.advance({ size, root });
    this.#assertNotHalted();
    this.#newest = { size, checkpoint: signCheckpoint({ size, root }, this.#keys.log) };
    for (const callback of this.#waiting) callback();
  }

  #assertNotHalted(): void {
    if (this.#halted !== undefined) throw new MeshError("ERR_CONTROL_PLANE_LOG_ROLLED_BACK", this.#halted);
  }

  async #tick(): Promise<void> {
    const judged = this.#epochGuard?.judge(this.#state.genesis?.epochTimeSeconds ?? 0);
    if (judged?.ok === false) {
      this.#log.error("epoch withheld", { reason: judged.reason, detail: judged.detail });
      this.#withheld(judged.reason, judged.detail);
      return;
    }
    try {
      let taken: KeptSnapshot | undefined;
      // Size and digest must be those at the moment of folding, so they are taken only then.
      const written = await this.#append(() => {
        const size = this.#tree.size;
        const isSnapshotDue = size >= (this.#snapshot?.size ?? 0) + snapshotIntervalEntries;
        taken = isSnapshotDue
          ? { size, text: formatSnapshot(this.#state, this.#tree.frontier()) }
          : undefined;
        return [this.#sign(this.#nextEpoch(size))];
      });
      if (!written.ok && this.isHalted) return;
      if (!written.ok) this.#log.error("epoch refused", { reason: written.reason, detail: written.detail });
      else {
        this.#observer?.epochIssued();
        if (taken !== undefined) await this.#keepSnapshot(taken);
      }
    } catch (error) {
      if (!this.#closing) this.#log.error("epoch not issued", { error: messageOf(error) });
    }
  }

  #nextEpoch(size: number): OwnStatement {
    const { epochNumber = 0, epochTimeSeconds = 0 } = this.#state.genesis ?? {};
    const body = {
      number: epochNumber + 1,
      size,
      // The clock may have been set back; epochs never are.
      timeSeconds: Math.max(this.#epochClock.nowSeconds(), epochTimeSeconds),
      stateDigest: this.#state.digest(),
      curatorDigest: null,
    };
    return { role: "sequencer", kind: "epoch", body };
  }

  async #keepSnapshot(taken: KeptSnapshot): Promise<void> {
    for await (const epochEntry of this.read(taken.size, taken.size + 1))
      if (this.#genesisEntry !== undefined)
        this.#snapshot = { ...taken, epochEntry, genesisEntry: this.#genesisEntry };
    await this.#storage.saveSnapshot(taken);
  }

  #sign({ role, kind, body }: OwnStatement): Uint8Array {
    const signer = this.#keys.signer(role, this.#state);
    if (signer === undefined)
      throw new MeshError("ERR_CONTROL_PLANE_KEY", `no key of role ${role} is in force here`);
    const sequence = (this.#state.authors.get(signer.name)?.sequence ?? 0) + 1;
    const log = this.#state.genesis?.genesis ?? "";
    return signEntry({ kind, version: entryVersion, log, author: signer.name, sequence, body }, [signer]);
  }

  /** Takes state and tree from the disk again. */
  async #replay(): Promise<void> {
    const { state, tree, genesisEntry, snapshot } = await replayLog(this.#storage, this.#log);
    this.#state = state;
    this.#tree = tree;
    this.#genesisEntry = genesisEntry;
    this.#snapshot = snapshot ?? this.#snapshot;
  }
}

/** The key that an entry would remove; undefined for one that removes none. */
function removedKey(entry: Uint8Array): string | undefined {
  // Statements have one spelling, and few entries are worth reading twice.
  if (!Buffer.from(entry.buffer, entry.byteOffset, entry.byteLength).includes(removalKind)) return undefined;
  const parsed = parseEntry(entry);
  const name = parsed.ok ? parsed.value.statement.body["name"] : undefined;
  return typeof name === "string" ? name : undefined;
}

function notWritten(cause: unknown): MeshError {
  return new MeshError("ERR_CONTROL_PLANE_LOG_WRITE", "the trust log could not be written", { cause });
}

function notMade(cause: unknown): MeshError {
  return new MeshError("ERR_CONTROL_PLANE_ENTRY", "an entry could not be made", { cause });
}

async function* each<Item>(items: readonly Item[]): AsyncGenerator<Item> {
  yield* items;
}
