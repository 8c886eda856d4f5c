import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { messageOf } from "../base/mesh-error.ts";
import { Frontier, leafHash, type NoteSigner, signCheckpoint } from "../trust-log/index.ts";
import { type AuditRecord, auditEntry } from "./audit-record.ts";

/** Allowed decisions are written together after at most this long; denials wait for no one. */
const batchMillisMax = 250;
const batchRecordsMax = 256;
/** Beyond this many unwritten records, allowed decisions are lost, and the log itself says how many. */
const waitingRecordsMax = 8_192;
/** What a journal takes at once is 4 MiB, with the frames around the records. */
const waitingBytesMax = 3 * 1024 * 1024;
const checkpointIntervalMillis = 1_000;

/** Where the log is kept (a journal of storage/). */
export interface AuditJournal {
  readonly size: number;
  readonly tornBytes: number;
  readonly appendAll: (entries: readonly Uint8Array[]) => Promise<number>;
  readonly read: (from: number, to: number) => AsyncIterable<Uint8Array>;
}

/** What an audit log needs. */
export interface AuditLogOptions {
  readonly journal: AuditJournal;
  /** Keeps the newest signed checkpoint. */
  readonly saveCheckpoint: (note: Uint8Array) => Promise<void>;
  readonly signer: NoteSigner;
  readonly clock: Clock;
  /** The size of the trust log in force. */
  readonly treeSize: () => number;
  readonly log: Log;
}

/** A proxy's own audit log, in the trust log's format, with one writer. */
export interface AuditLog extends AsyncDisposable {
  /** Whether the last write failed, as on a full disk; tried again every second until one succeeds. */
  readonly isFailing: boolean;
  /** Records what may be lost in a power cut of the last {@link batchMillisMax} ms. */
  readonly record: (record: AuditRecord) => void;
  /** Records what must be on disk before its effect is seen; false when it could not be written. */
  readonly recordDurably: (record: AuditRecord) => Promise<boolean>;
}

/** Opens the audit log over a journal, which may hold the records of earlier lives. */
export async function openAuditLog(options: AuditLogOptions): Promise<AuditLog> {
  const frontier = new Frontier();
  for await (const entry of options.journal.read(0, options.journal.size)) frontier.append(leafHash(entry));
  return new BatchedAuditLog(options, frontier);
}

/** Records that are written together, and who waits for them. */
interface Batch {
  readonly entries: Uint8Array[];
  bytes: number;
  readonly written: PromiseWithResolvers<boolean>;
}

class BatchedAuditLog implements AuditLog {
  readonly #options: AuditLogOptions;
  readonly #frontier: Frontier;
  #batch: Batch = newBatch();
  #lost = 0;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  #signing: Promise<void> = Promise.resolve();
  #signedSize = 0;
  #isClosed = false;
  isFailing = false;
  readonly #checkpoints: NodeJS.Timeout;

  constructor(options: AuditLogOptions, frontier: Frontier) {
    this.#options = options;
    this.#frontier = frontier;
    this.#checkpoints = setInterval(() => {
      // What was lost is said as soon as there is room, even if nobody asks for anything.
      if (this.isFailing) void this.#flush();
      void this.#checkpoint();
    }, checkpointIntervalMillis);
  }

  record(record: AuditRecord): void {
    if (!this.#add(record)) return;
    if (this.#batch.entries.length >= batchRecordsMax) void this.#flush();
    else this.#timer ??= setTimeout(() => void this.#flush(), batchMillisMax);
  }

  recordDurably(record: AuditRecord): Promise<boolean> {
    const { written } = this.#batch;
    if (!this.#add(record)) return Promise.resolve(false);
    void this.#flush();
    return written.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#checkpoints);
    // What is being written first, since it may end in a gap that has to be written too.
    await this.#writing;
    await this.#flush();
    await this.#checkpoint();
  }

  /** False where there is no room, which is counted. */
  #add(record: AuditRecord): boolean {
    const { entries, bytes } = this.#batch;
    if (this.#isClosed || entries.length >= waitingRecordsMax || bytes >= waitingBytesMax) {
      this.#lost += 1;
      return false;
    }
    const entry = this.#entryOf(record);
    entries.push(entry);
    this.#batch.bytes += entry.byteLength;
    return true;
  }

  #entryOf(record: AuditRecord): Uint8Array {
    const { clock, treeSize } = this.#options;
    return auditEntry(record, { timeMillis: Math.floor(clock.nowSeconds() * 1000), treeSize: treeSize() });
  }

  /** Writes until nothing waits; what comes during one write goes together into the next. */
  #flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing ??= this.#writeAll();
    return this.#writing;
  }

  async #writeAll(): Promise<void> {
    await Promise.resolve();
    // Counted, and said with the next batch; trying again at once would not mend a full disk.
    do await this.#writeBatch();
    while (this.#batch.entries.length > 0);
    // In the turn of the last look, or a record that came in between would wait for ever.
    this.#writing = undefined;
  }

  async #writeBatch(): Promise<void> {
    const { entries, written } = this.#batch;
    const lost = this.#lost;
    const count = entries.length;
    this.#batch = newBatch();
    this.#lost = 0;
    if (lost > 0) entries.push(this.#entryOf({ type: "gap", lost }));
    if (entries.length === 0) return;
    try {
      await this.#options.journal.appendAll(entries);
      for (const entry of entries) this.#frontier.append(leafHash(entry));
      this.isFailing = false;
      written.resolve(true);
    } catch (error) {
      // Once for each time that it begins.
      if (!this.isFailing)
        this.#options.log.error("audit records could not be written", { error: messageOf(error) });
      this.isFailing = true;
      this.#lost += lost + count;
      written.resolve(false);
    }
  }

  /** One at a time, so that an older checkpoint never takes the place of a newer one. */
  #checkpoint(): Promise<void> {
    this.#signing = this.#signing.then(() => this.#checkpointNow());
    return this.#signing;
  }

  async #checkpointNow(): Promise<void> {
    const { size } = this.#frontier;
    if (size === this.#signedSize) return;
    const note = signCheckpoint({ size, root: this.#frontier.root() }, this.#options.signer);
    try {
      await this.#options.saveCheckpoint(note);
      this.#signedSize = size;
    } catch (error) {
      this.#options.log.error("audit checkpoint not saved", { error: messageOf(error) });
    }
  }
}

function newBatch(): Batch {
  return { entries: [], bytes: 0, written: Promise.withResolvers<boolean>() };
}
