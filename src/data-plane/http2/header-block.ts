import type { Http2Limits } from "./http2-limits.ts";
import type { Http2Violation } from "./http2-violation.ts";

/** Gathers a header block that is spread over HEADERS and CONTINUATION frames (RFC 9113, 4.3). */
export class HeaderBlock {
  /** The stream whose block is incomplete; 0 when there is none. */
  streamId = 0;
  isEndStream = false;
  private bytes: Buffer = nothing;
  private length = 0;
  private continuations = 0;
  private readonly limits: Http2Limits;

  constructor(limits: Http2Limits) {
    this.limits = limits;
  }

  /** The fragments so far, in one piece. */
  get whole(): Buffer {
    return this.bytes.subarray(0, this.length);
  }

  /** Begins with the fragment of a HEADERS frame. */
  begin(streamId: number, isEndStream: boolean): void {
    this.streamId = streamId;
    this.isEndStream = isEndStream;
    this.length = 0;
    this.continuations = 0;
  }

  /** Adds a fragment; what one block may take is bounded in bytes and in frames (CVE-2024-27316). */
  add(window: Buffer, start: number, end: number): Http2Violation | undefined {
    const length = this.length + end - start;
    if (length > this.limits.headerBlockBytesMax) return "header-block-too-large";
    if (length > this.bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(2 * length, this.limits.headerBlockBytesMax));
      this.bytes.copy(larger, 0, 0, this.length);
      this.bytes = larger;
    }
    window.copy(this.bytes, this.length, start, end);
    this.length = length;
    return undefined;
  }

  /** Counts a CONTINUATION frame. */
  continue(): Http2Violation | undefined {
    this.continuations += 1;
    return this.continuations > this.limits.continuationFramesMax ? "continuation-flood" : undefined;
  }

  /** The block is complete; its buffer is not kept, since few blocks need one. */
  end(): void {
    this.streamId = 0;
    this.bytes = nothing;
    this.length = 0;
  }
}

const nothing = Buffer.alloc(0);
