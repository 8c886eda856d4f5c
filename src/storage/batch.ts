import { entryBytesMax, frameHeadBytes, sealFrame } from "./frame.ts";
import { storageFault } from "./storage-fault.ts";

/** Framed entries that will reach the disk in one write. The buffer is kept for the next batch. */
export class Batch {
  #bytes = Buffer.allocUnsafe(65_536);
  #byteLength = 0;
  #starts: number[] = [];

  get entries(): number {
    return this.#starts.length;
  }

  /** Bytes of the write, frame heads included. */
  get byteLength(): number {
    return this.#byteLength;
  }

  /** Copies an entry of 1 to 65 535 bytes to the end. */
  add(entry: Uint8Array): void {
    this.#reserve(this.#byteLength + frameHeadBytes + entry.byteLength);
    this.#bytes.writeUInt16BE(entry.byteLength, this.#byteLength);
    this.#bytes.set(entry, this.#byteLength + frameHeadBytes);
    this.#starts.push(this.#byteLength);
    this.#byteLength += frameHeadBytes + entry.byteLength;
  }

  /** The bytes to write at `fileOffset`, valid until {@link clear}, and where in the file each frame then stands. */
  seal(fileOffset: number): { readonly bytes: Buffer; readonly frameOffsets: readonly number[] } {
    const frameOffsets = this.#starts.map((start) => fileOffset + start);
    for (const start of this.#starts) {
      const length = this.#bytes.readUInt16BE(start);
      sealFrame(this.#bytes, start, { length, fileOffset: fileOffset + start });
    }
    return { bytes: this.#bytes.subarray(0, this.#byteLength), frameOffsets };
  }

  clear(): void {
    this.#byteLength = 0;
    this.#starts = [];
  }

  #reserve(byteLength: number): void {
    if (byteLength <= this.#bytes.byteLength) return;
    const larger = Buffer.allocUnsafe(Math.max(byteLength, 2 * this.#bytes.byteLength));
    this.#bytes.copy(larger, 0, 0, this.#byteLength);
    this.#bytes = larger;
  }
}

/** How much a group of entries takes in a file. Throws `ERR_STORAGE_ENTRY` for one that no journal can ever take. */
export function framedBytesOf(
  entries: readonly Uint8Array[],
  limits: { readonly entriesMax: number; readonly bytesMax: number },
): number {
  const unfit = entries.find((entry) => entry.byteLength === 0 || entry.byteLength > entryBytesMax);
  if (unfit !== undefined)
    throw storageFault(
      "ERR_STORAGE_ENTRY",
      `an entry has 1 to ${entryBytesMax} bytes, not ${unfit.byteLength}`,
    );
  const bytes = entries.reduce((sum, entry) => sum + frameHeadBytes + entry.byteLength, 0);
  if (entries.length === 0 || entries.length > limits.entriesMax || bytes > limits.bytesMax)
    throw storageFault(
      "ERR_STORAGE_ENTRY",
      `one append holds 1 to ${limits.entriesMax} entries and at most ${limits.bytesMax} bytes, not ${entries.length} and ${bytes}`,
    );
  return bytes;
}
