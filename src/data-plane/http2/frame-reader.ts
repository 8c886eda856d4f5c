import { checkFrameHead, frameFlag, frameHeadBytes, frameType } from "./frame-layout.ts";
import type { Http2Violation } from "./http2-violation.ts";

/** Takes frames as {@link FrameReader} finds them; their particulars stand in the reader during the call. */
export interface FrameSink {
  /** A whole frame of any type but DATA; its payload is `window[start, end)`. */
  onFrame(): void;
  /** A DATA frame begins; `length` counts for flow control, `paddingBytes` of it are not data. */
  onDataBegin(): void;
  /** Some of its data: `window[start, end)`. */
  onDataPiece(): void;
  /** The last of its data has been given. */
  onDataEnd(): void;
}

/**
 * Finds frames in chunks of any size. Data is handed on as it arrives and never gathered; any other frame that is
 * spread over chunks is gathered in one buffer of the largest frame's size. Judges what a frame's head alone shows.
 */
export class FrameReader {
  type = 0;
  flags = 0;
  streamId = 0;
  /** Of the whole payload, in bytes. */
  length = 0;
  /** Of a DATA frame: its padding with the byte that says how long it is. */
  paddingBytes = 0;
  window: Buffer = nothing;
  start = 0;
  end = 0;
  /** Set once a frame is not acceptable on any connection; nothing is read after that. */
  violation: Http2Violation | undefined;
  /** Nothing more is read once this is set. */
  isStopped = false;
  private readonly sink: FrameSink;
  private readonly frameBytesMax: number;
  private gathered: Buffer = nothing;
  private gatheredBytes = 0;
  private dataLeft = 0;
  private padLeft = 0;
  private isInData = false;

  constructor(sink: FrameSink, frameBytesMax: number) {
    this.sink = sink;
    this.frameBytesMax = frameBytesMax;
  }

  /** Reads all of a chunk; what is given to the sink of it is a view. */
  read(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.isStopped) {
      if (this.isInData) at = this.readData(chunk, at);
      else if (this.gatheredBytes > 0) at = this.gather(chunk, at);
      else at = this.readFrame(chunk, at);
    }
  }

  private readFrame(chunk: Buffer, at: number): number {
    const available = chunk.length - at;
    if (available < frameHeadBytes) return this.keep(chunk, at);
    this.readHead(chunk, at);
    if (this.isStopped) return at;
    if (this.type === frameType.data) {
      if ((this.flags & frameFlag.padded) === 0) return this.beginData(at + frameHeadBytes, 0);
      if (available === frameHeadBytes) return this.keep(chunk, at);
      return this.beginData(at + frameHeadBytes + 1, (chunk[at + frameHeadBytes] ?? 0) + 1);
    }
    const end = at + frameHeadBytes + this.length;
    if (end > chunk.length) return this.keep(chunk, at);
    this.deliver(chunk, at + frameHeadBytes, end);
    return end;
  }

  private readHead(bytes: Buffer, at: number): void {
    this.length = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    this.type = bytes[at + 3] ?? 0;
    this.flags = bytes[at + 4] ?? 0;
    this.streamId =
      (((bytes[at + 5] ?? 0) & 0x7f) << 24) |
      ((bytes[at + 6] ?? 0) << 16) |
      ((bytes[at + 7] ?? 0) << 8) |
      (bytes[at + 8] ?? 0);
    if (this.length > this.frameBytesMax) return this.stop("frame-too-large");
    const violation = checkFrameHead(this.type, this.flags, this.streamId, this.length);
    if (violation !== undefined) this.stop(violation);
  }

  private stop(violation: Http2Violation): void {
    this.violation = violation;
    this.isStopped = true;
  }

  private keep(chunk: Buffer, at: number): number {
    if (this.gathered.length === 0)
      this.gathered = Buffer.allocUnsafeSlow(frameHeadBytes + this.frameBytesMax);
    this.gatheredBytes = chunk.copy(this.gathered, 0, at);
    return chunk.length;
  }

  /** Completes a frame whose beginning was kept. */
  private gather(chunk: Buffer, start: number): number {
    let at = this.gatherUpTo(frameHeadBytes, chunk, start);
    if (this.gatheredBytes < frameHeadBytes) return at;
    this.readHead(this.gathered, 0);
    if (this.isStopped) return at;
    const isPaddedData = this.type === frameType.data && (this.flags & frameFlag.padded) !== 0;
    const wholeBytes = this.type === frameType.data ? (isPaddedData ? 1 : 0) : this.length;
    at = this.gatherUpTo(frameHeadBytes + wholeBytes, chunk, at);
    if (this.gatheredBytes < frameHeadBytes + wholeBytes) return at;
    this.gatheredBytes = 0;
    if (this.type === frameType.data)
      return this.beginData(at, isPaddedData ? (this.gathered[frameHeadBytes] ?? 0) + 1 : 0);
    this.deliver(this.gathered, frameHeadBytes, frameHeadBytes + this.length);
    return at;
  }

  private gatherUpTo(bytes: number, chunk: Buffer, at: number): number {
    const missing = Math.min(bytes - this.gatheredBytes, chunk.length - at);
    if (missing <= 0) return at;
    chunk.copy(this.gathered, this.gatheredBytes, at, at + missing);
    this.gatheredBytes += missing;
    return at + missing;
  }

  private deliver(window: Buffer, start: number, end: number): void {
    this.window = window;
    this.start = start;
    this.end = end;
    this.sink.onFrame();
    this.window = nothing;
  }

  private beginData(at: number, paddingBytes: number): number {
    if (paddingBytes > this.length) {
      this.stop("padding-invalid");
      return at;
    }
    this.paddingBytes = paddingBytes;
    this.dataLeft = this.length - paddingBytes;
    this.padLeft = Math.max(0, paddingBytes - 1);
    this.isInData = true;
    this.sink.onDataBegin();
    if (this.dataLeft + this.padLeft === 0 && !this.isStopped) this.endData();
    return at;
  }

  private readData(chunk: Buffer, at: number): number {
    const taken = Math.min(this.dataLeft, chunk.length - at);
    if (taken > 0) {
      this.dataLeft -= taken;
      this.window = chunk;
      this.start = at;
      this.end = at + taken;
      this.sink.onDataPiece();
      this.window = nothing;
      if (this.isStopped) return at;
    }
    const skipped = Math.min(this.padLeft, chunk.length - at - taken);
    this.padLeft -= skipped;
    if (this.dataLeft + this.padLeft === 0) this.endData();
    return at + taken + skipped;
  }

  private endData(): void {
    this.isInData = false;
    this.sink.onDataEnd();
  }
}

const nothing = Buffer.alloc(0);
