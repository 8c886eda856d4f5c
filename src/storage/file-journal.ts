import type { MeshError } from "../base/mesh-error.ts";
import { makeFolder } from "./atomic-file.ts";
import { Batch, framedBytesOf } from "./batch.ts";
import { frameHeadBytes } from "./frame.ts";
import type { Journal } from "./journal.ts";
import { assertRange } from "./memory-journal.ts";
import {
  batchBytesMax,
  entriesPerMark,
  type Recovered,
  type RecoveredSegment,
  recoverJournal,
} from "./recover-journal.ts";
import { SegmentWriter } from "./segment-writer.ts";
import { onDisk, storageFault } from "./storage-fault.ts";
import { type Walked, walkSegment } from "./walk-segment.ts";
import type { WriterLock } from "./writer-lock.ts";

/** Limits of a journal in files, and what its owner knows of it. */
export interface FileJournalOptions {
  /** Entries that are known to have been acknowledged, as by a signed size (0): fewer is `ERR_STORAGE_DAMAGED`. */
  readonly durableSizeMin?: number;
  /** A batch that would make a file longer than this begins a new one (8 MiB). */
  readonly segmentBytesMax?: number;
  /** How many entries may wait while a batch is written (16 384). */
  readonly pendingEntriesMax?: number;
  /** How many bytes, frame heads included, may wait while a batch is written (4 MiB, which is the most). */
  readonly pendingBytesMax?: number;
}

/**
 * Opens or creates a journal in a folder of segment files; `lock` is the writer lock of that folder and outlives the
 * journal. Whatever waits is written with one `write` and one `fdatasync`; recovery is described at
 * {@link recoverJournal}. Throws `ERR_STORAGE_DAMAGED`, naming file, offset and entry, `ERR_STORAGE_FENCED` or
 * `ERR_STORAGE_IO`.
 */
export async function openFileJournal(
  folder: string,
  lock: WriterLock,
  options: FileJournalOptions = {},
): Promise<Journal> {
  const limits = {
    entriesMax: options.pendingEntriesMax ?? 16_384,
    bytesMax: Math.min(options.pendingBytesMax ?? batchBytesMax, batchBytesMax),
  };
  const segmentBytesMax = Math.min(options.segmentBytesMax ?? 8 * 1024 * 1024, 1024 * 1024 * 1024);
  await lock.assertHeld();
  return onDisk(folder, async () => {
    await makeFolder(folder);
    const recovered = await recoverJournal(folder, options.durableSizeMin ?? 0);
    const writer = await SegmentWriter.open({ folder, lock, segmentBytesMax }, recovered);
    return new FileJournal(writer, recovered, limits);
  });
}

interface Waiting {
  readonly entries: number;
  readonly resolve: (firstIndex: number) => void;
  readonly reject: (error: unknown) => void;
}

class FileJournal implements Journal {
  readonly tornBytes: number;
  readonly #writer: SegmentWriter;
  readonly #limits: { readonly entriesMax: number; readonly bytesMax: number };
  #size: number;
  #collecting = new Batch();
  #spare = new Batch();
  #waiting: Waiting[] = [];
  #flushing: Promise<void> | undefined;
  #isClosed = false;

  constructor(
    writer: SegmentWriter,
    recovered: Recovered,
    limits: { readonly entriesMax: number; readonly bytesMax: number },
  ) {
    this.#writer = writer;
    this.#size = recovered.size;
    this.tornBytes = recovered.tornBytes;
    this.#limits = limits;
  }

  get size(): number {
    return this.#size;
  }

  append(entry: Uint8Array): Promise<number> {
    return this.appendAll([entry]);
  }

  async appendAll(entries: readonly Uint8Array[]): Promise<number> {
    if (this.#isClosed) throw storageFault("ERR_STORAGE_CLOSED", "the journal is closed");
    const bytes = framedBytesOf(entries, this.#limits);
    const batch = this.#collecting;
    const { entriesMax, bytesMax } = this.#limits;
    if (batch.entries + entries.length > entriesMax || batch.byteLength + bytes > bytesMax)
      throw storageFault(
        "ERR_STORAGE_BUSY",
        `${batch.entries} entries with ${batch.byteLength} bytes wait for the disk already`,
      );
    for (const entry of entries) batch.add(entry);
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#waiting.push({ entries: entries.length, resolve, reject });
    this.#flushing ??= this.#flush();
    return promise;
  }

  async *read(from: number, to: number): AsyncGenerator<Uint8Array> {
    assertRange(from, to, this.#size);
    let next = from;
    while (next < to) {
      const segment = this.#segmentOf(next);
      let place = markBefore(segment, next);
      // The file is closed before anything is yielded: whoever stops asking may never say so.
      for (let stretch = await firstStretch(segment, place); ; stretch = await firstStretch(segment, place)) {
        if (stretch.length === 0) break;
        for (const walked of stretch) {
          if (!("bytes" in walked)) throw damageAt(segment, walked);
          place = {
            index: walked.index + 1,
            offset: walked.offset + frameHeadBytes + walked.bytes.byteLength,
          };
          if (walked.index < next) continue;
          yield new Uint8Array(walked.bytes);
          next += 1;
          if (next === to) return;
        }
      }
      if (this.#segmentOf(next) === segment) throw damageAt(segment, { index: next, offset: 0 });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#flushing;
    await this.#writer[Symbol.asyncDispose]();
  }

  // Begins a microtask late, so that what is appended in one turn goes together from the first write on.
  async #flush(): Promise<void> {
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#collecting;
      const waiting = this.#waiting;
      this.#collecting = this.#spare;
      this.#spare = batch;
      this.#waiting = [];
      try {
        await this.#writer.write(batch, this.#size);
        this.#acknowledge(waiting);
      } catch (error) {
        // Those that collected meanwhile fail too: they were promised to come after these.
        for (const { reject } of [...waiting, ...this.#waiting]) reject(error);
        this.#waiting = [];
        this.#collecting.clear();
      }
      batch.clear();
    }
    this.#flushing = undefined;
  }

  #acknowledge(waiting: readonly Waiting[]): void {
    for (const { entries, resolve } of waiting) {
      resolve(this.#size);
      this.#size += entries;
    }
  }

  #segmentOf(index: number): RecoveredSegment {
    const segment = this.#writer.segments.findLast(({ firstIndex }) => firstIndex <= index);
    if (segment === undefined) throw storageFault("ERR_STORAGE_RANGE", `no segment holds entry ${index}`);
    return segment;
  }
}

function markBefore(
  { firstIndex, marks }: RecoveredSegment,
  index: number,
): { index: number; offset: number } {
  const mark = Math.floor((index - firstIndex) / entriesPerMark);
  const offset = marks[mark];
  return offset === undefined
    ? { index: firstIndex, offset: 0 }
    : { index: firstIndex + mark * entriesPerMark, offset };
}

function damageAt(
  { path }: RecoveredSegment,
  { index, offset }: { index: number; offset: number },
): MeshError {
  return storageFault("ERR_STORAGE_DAMAGED", `${path} is damaged at offset ${offset}, entry ${index}`);
}

/** What stands in a segment from a frame's start on, as far as one window reaches; empty at its end. */
async function firstStretch(
  segment: RecoveredSegment,
  start: { readonly index: number; readonly offset: number },
): Promise<readonly Walked[]> {
  const walk = walkSegment(segment, start);
  try {
    const { value } = await walk.next();
    return value ?? [];
  } finally {
    await walk.return(undefined);
  }
}
