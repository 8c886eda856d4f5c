import { type FileHandle, open } from "node:fs/promises";
import { frameBytesMax, frameHeadBytes, wholeFrameBytes } from "./frame.ts";
import type { Segment } from "./segment.ts";
import { onDisk } from "./storage-fault.ts";

/** What stands at one place of a segment. `bytes` is a view that nobody overwrites. */
export type Walked =
  | { readonly index: number; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly index: number; readonly offset: number; readonly problem: SegmentProblem };

/**
 * `checksum`: this entry is not what was written; the one after it is.
 * `length`: the frame's end is lost as well; later numbers assume that it was one entry.
 * `tail`: no whole frame from here to the end of the file, `tailBytes` away.
 */
export type SegmentProblem = "checksum" | "length" | { readonly tailBytes: number };

/**
 * Everything in a segment from a frame's start on, in order, one array per window of 256 KiB; whatever is no whole
 * frame is reported and then skipped byte by byte. Ends where the file ended when the walk began.
 */
export async function* walkSegment(
  { path, firstIndex }: Segment,
  start = { index: firstIndex, offset: 0 },
): AsyncGenerator<readonly Walked[]> {
  await using file = await onDisk(path, () => open(path, "r"));
  const window = new Window(file, (await file.stat()).size);
  let next = start;
  while (next.offset < window.fileBytes) {
    await onDisk(path, () => window.moveTo(next.offset));
    const walked = wholeFrames(window, next);
    next = walked.next;
    if (walked.entries.length > 0) yield walked.entries;
    // The window may have ended with whole frames; only what it covers and is not whole is bad.
    if (next.offset >= window.fileBytes || !window.covers(next.offset)) continue;
    const bad = await onDisk(path, () => skipBadFrame(window, next));
    yield [bad.walked];
    next = bad.next;
  }
}

interface Place {
  readonly index: number;
  readonly offset: number;
}

function wholeFrames(window: Window, from: Place): { readonly entries: Walked[]; readonly next: Place } {
  const entries: Walked[] = [];
  let { index, offset } = from;
  while (window.covers(offset)) {
    const frameBytes = window.wholeFrameBytes(offset);
    if (frameBytes === 0) break;
    entries.push({ index, offset, bytes: window.slice(offset + frameHeadBytes, offset + frameBytes) });
    offset += frameBytes;
    index += 1;
  }
  return { entries, next: { index, offset } };
}

async function skipBadFrame(
  window: Window,
  { index, offset }: Place,
): Promise<{ readonly walked: Walked; readonly next: Place }> {
  const claimedEnd = window.claimedEnd(offset);
  const next = await nextWholeFrame(window, offset + 1);
  const problem = problemOf({ offset, claimedEnd, next, fileBytes: window.fileBytes });
  return { walked: { index, offset, problem }, next: { index: index + 1, offset: next ?? window.fileBytes } };
}

async function nextWholeFrame(window: Window, from: number): Promise<number | undefined> {
  for (let offset = from; offset < window.fileBytes; offset += 1) {
    if (!window.covers(offset)) await window.moveTo(offset);
    if (window.wholeFrameBytes(offset) > 0) return offset;
  }
  return undefined;
}

function problemOf(bad: {
  readonly offset: number;
  readonly claimedEnd: number;
  readonly next: number | undefined;
  /** Where the file ends; less once a writer takes back what it has not acknowledged. */
  fileBytes: number;
}): SegmentProblem {
  if (bad.next === undefined) return { tailBytes: bad.fileBytes - bad.offset };
  return bad.next === bad.claimedEnd ? "checksum" : "length";
}

const windowBytes = 256 * 1024;

/** A stretch of a file in memory, moved on demand, long enough for the frame that begins where it is asked for. */
class Window {
  /** Where the file ends; less once a writer takes back what it has not acknowledged. */
  fileBytes: number;
  readonly #file: FileHandle;
  #bytes = Buffer.alloc(0);
  #start = 0;

  constructor(file: FileHandle, fileBytes: number) {
    this.#file = file;
    this.fileBytes = fileBytes;
  }

  covers(offset: number): boolean {
    const end = this.#start + this.#bytes.byteLength;
    return offset >= this.#start && Math.min(offset + frameBytesMax, this.fileBytes) <= end;
  }

  async moveTo(offset: number): Promise<void> {
    // A new buffer each time: views of the old one are in the hands of whoever walks.
    const bytes = Buffer.allocUnsafeSlow(Math.min(windowBytes, this.fileBytes - offset));
    let filled = 0;
    while (filled < bytes.byteLength) {
      const { bytesRead } = await this.#file.read(bytes, filled, bytes.byteLength - filled, offset + filled);
      if (bytesRead === 0) this.fileBytes = offset + filled;
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    this.#bytes = bytes.subarray(0, filled);
    this.#start = offset;
  }

  wholeFrameBytes(offset: number): number {
    return wholeFrameBytes(this.#bytes, offset - this.#start, offset);
  }

  /** Where the frame at `offset` would end if its length field were right. */
  claimedEnd(offset: number): number {
    const at = offset - this.#start;
    if (at + 2 > this.#bytes.byteLength) return this.fileBytes;
    return offset + frameHeadBytes + this.#bytes.readUInt16BE(at);
  }

  slice(from: number, to: number): Uint8Array {
    return this.#bytes.subarray(from - this.#start, to - this.#start);
  }
}
