import { carriageReturn, hexByte, isOf, lineFeed, lowerCased, semicolon } from "./byte-classes.ts";
import { readTrailers, type Trailer, type TrailerRefusal } from "./trailers.ts";

/** Why a chunked body was refused. */
export type ChunkRefusal =
  | "chunk-size-invalid"
  | "chunk-size-too-long"
  | "chunk-extension"
  | "chunk-line-end"
  | TrailerRefusal;

const sizeDigitsMax = 8;

type State =
  | "size-start"
  | "size"
  | "size-line-feed"
  | "data"
  | "data-carriage-return"
  | "data-line-feed"
  | "trailers"
  | "complete"
  | "refused";

/**
 * Reads the chunked transfer coding (RFC 9112, 7.1) as it arrives, in its plainest form: no extensions, no white
 * space, CRLF only. Trailer fields that no receiver may take for a head's are refused rather than dropped.
 */
export class ChunkedBody {
  refusal: ChunkRefusal | undefined;
  /** Bytes of data so far, without the coding. */
  payloadBytes = 0;
  /** Where data stood in the last window, as pairs of offsets. */
  readonly spans: number[] = [];
  /** The fields after the last chunk, once it is complete. */
  trailers: readonly Trailer[] = [];
  private state: State = "size-start";
  private digits = 0;
  private left = 0;
  private trailerBytes: Buffer = nothing;

  /** Whether the empty line after the last chunk has been read. */
  get isComplete(): boolean {
    return this.state === "complete";
  }

  /** Reads `window[at, end)`; answers with the end of the body or of the window, or -1 when refused. */
  advance(window: Uint8Array, start: number, end: number): number {
    this.spans.length = 0;
    let at = start;
    while (at < end && this.state !== "complete" && this.state !== "refused") {
      if (this.state === "data") at = this.takeData(at, end);
      else if (this.state === "trailers") at = this.takeTrailers(window, at, end);
      else at = this.takeByte(window[at], at);
    }
    return this.refusal === undefined ? at : -1;
  }

  private takeData(at: number, end: number): number {
    const taken = Math.min(this.left, end - at);
    this.spans.push(at, at + taken);
    this.payloadBytes += taken;
    this.left -= taken;
    if (this.left === 0) this.state = "data-carriage-return";
    return at + taken;
  }

  private takeTrailers(window: Uint8Array, at: number, end: number): number {
    const before = this.trailerBytes.length;
    this.trailerBytes = Buffer.concat([this.trailerBytes, window.subarray(at, end)]);
    const read = readTrailers(this.trailerBytes);
    if (read.kind === "need-more") return end;
    this.trailerBytes = nothing;
    if (read.kind === "refused") {
      this.refuse(read.reason);
      return end;
    }
    this.trailers = read.trailers;
    this.state = "complete";
    return at + read.end - before;
  }

  private takeByte(byte: number | undefined, at: number): number {
    switch (this.state) {
      case "size-start":
      case "size":
        this.takeSize(byte);
        break;
      case "size-line-feed":
        this.expect(byte, lineFeed, this.left === 0 ? "trailers" : "data");
        break;
      case "data-carriage-return":
        this.expect(byte, carriageReturn, "data-line-feed");
        break;
      case "data-line-feed":
        this.expect(byte, lineFeed, "size-start");
        break;
      case "data":
      case "trailers":
      case "complete":
      case "refused":
        break;
    }
    return at + 1;
  }

  private takeSize(byte: number | undefined): void {
    if (isOf(hexByte, byte)) {
      this.digits += 1;
      if (this.digits > sizeDigitsMax) return this.refuse("chunk-size-too-long");
      const small = lowerCased(byte);
      this.left = this.left * 16 + (small < 0x61 ? small - 0x30 : small - 0x57);
      this.state = "size";
      return;
    }
    if (this.state === "size-start") return this.refuse("chunk-size-invalid");
    this.digits = 0;
    if (byte === carriageReturn) this.state = "size-line-feed";
    else if (byte === lineFeed) this.refuse("chunk-line-end");
    else this.refuse(byte === semicolon ? "chunk-extension" : "chunk-size-invalid");
  }

  private expect(byte: number | undefined, wanted: number, next: State): void {
    if (byte === wanted) this.state = next;
    else this.refuse("chunk-line-end");
  }

  private refuse(reason: ChunkRefusal): void {
    this.refusal = reason;
    this.state = "refused";
  }
}

const nothing = Buffer.alloc(0);
