import { type FileHandle, open, unlink } from "node:fs/promises";
import type { MeshError } from "../base/mesh-error.ts";
import { syncFolder } from "./atomic-file.ts";
import type { Batch } from "./batch.ts";
import { entriesPerMark, type Recovered, type RecoveredSegment } from "./recover-journal.ts";
import { segmentAt } from "./segment.ts";
import { onDisk, storageFault } from "./storage-fault.ts";
import type { WriterLock } from "./writer-lock.ts";

/** Where and how far segments are written. */
export interface SegmentLimits {
  readonly folder: string;
  readonly lock: WriterLock;
  readonly segmentBytesMax: number;
}

/** Writes batches to the last segment, one at a time; each is durable and counted, or not there. */
export class SegmentWriter implements AsyncDisposable {
  readonly segments: RecoveredSegment[];
  readonly #limits: SegmentLimits;
  #file: FileHandle | undefined;
  #fileBytes: number;
  #poison: MeshError | undefined;

  private constructor(limits: SegmentLimits, recovered: Recovered, file: FileHandle | undefined) {
    this.segments = recovered.segments;
    this.#limits = limits;
    this.#file = file;
    this.#fileBytes = recovered.lastBytes;
  }

  static async open(limits: SegmentLimits, recovered: Recovered): Promise<SegmentWriter> {
    const last = recovered.segments.at(-1);
    return new SegmentWriter(limits, recovered, last && (await open(last.path, "r+")));
  }

  /** Writes a batch whose first entry has the index `firstIndex`, and syncs it. */
  async write(batch: Batch, firstIndex: number): Promise<void> {
    if (this.#poison !== undefined) throw this.#poison;
    const isFull = this.#fileBytes > 0 && this.#fileBytes + batch.byteLength > this.#limits.segmentBytesMax;
    const file = this.#file === undefined || isFull ? await this.#beginSegment(firstIndex) : this.#file;
    const { bytes, frameOffsets } = batch.seal(this.#fileBytes);
    await onDisk(`${this.segments.at(-1)?.path}`, async () => {
      try {
        await writeAll(file, bytes, this.#fileBytes);
        await file.datasync();
      } catch (error) {
        await this.#cutBack(file, error);
        throw error;
      }
    });
    this.#fileBytes += bytes.byteLength;
    this.#mark(firstIndex, frameOffsets);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file?.close();
  }

  async #beginSegment(firstIndex: number): Promise<FileHandle> {
    const segment = segmentAt(this.#limits.folder, firstIndex);
    await this.#limits.lock.assertHeld();
    const file = await onDisk(segment.path, () => createSegment(segment.path, this.#limits.folder));
    const finished = this.#file;
    this.#file = file;
    this.#fileBytes = 0;
    this.segments.push({ ...segment, marks: [] });
    await finished?.close();
    return file;
  }

  // The batch was not acknowledged: none of it may come back, nor stand behind what is written next.
  async #cutBack(file: FileHandle, cause: unknown): Promise<void> {
    try {
      await file.truncate(this.#fileBytes);
      await file.datasync();
    } catch (error) {
      this.#poison = storageFault(
        "ERR_STORAGE_POISONED",
        `the journal takes no more entries until it is reopened: ${this.segments.at(-1)?.path} could not be cut back to ${this.#fileBytes} bytes`,
        new AggregateError([cause, error], "writing failed, then cutting back failed"),
      );
      throw this.#poison;
    }
  }

  #mark(firstIndex: number, frameOffsets: readonly number[]): void {
    const segment = this.segments.at(-1);
    if (segment === undefined) return;
    for (const [position, offset] of frameOffsets.entries())
      if ((firstIndex + position - segment.firstIndex) % entriesPerMark === 0) segment.marks.push(offset);
  }
}

async function createSegment(path: string, folder: string): Promise<FileHandle> {
  const file = await open(path, "wx", 0o600);
  try {
    await syncFolder(folder);
    return file;
  } catch (error) {
    await file.close();
    await unlink(path);
    throw error;
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, fileOffset: number): Promise<void> {
  let written = 0;
  // A full disk may take a part and refuse the rest only when asked again.
  while (written < bytes.byteLength) {
    const left = bytes.byteLength - written;
    written += (await file.write(bytes, written, left, fileOffset + written)).bytesWritten;
  }
}
