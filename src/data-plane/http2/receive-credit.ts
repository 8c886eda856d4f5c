import { initialWindowBytes } from "./frame-layout.ts";
import type { FrameWriter } from "./frame-writer.ts";
import type { Http2Limits } from "./http2-limits.ts";

/**
 * What the peer may send on all streams together. Data counts against a bound on memory until it is consumed, not
 * against the connection's window, which is credited at once: so a stream that nobody reads stops nobody else.
 */
export class ReceiveCredit {
  private window: number = initialWindowBytes;
  private unconsumedBytes = 0;
  private readonly limits: Http2Limits;
  private readonly writer: FrameWriter;

  constructor(limits: Http2Limits, writer: FrameWriter) {
    this.limits = limits;
    this.writer = writer;
  }

  /** Counts the payload of a DATA frame; false where the peer had no credit for it. */
  receive(bytes: number): boolean {
    this.window -= bytes;
    this.unconsumedBytes += bytes;
    if (this.window < 0) return false;
    this.refill();
    return true;
  }

  /** Counts bytes that take no memory any more. */
  consume(bytes: number): void {
    this.unconsumedBytes -= bytes;
    this.refill();
  }

  /** Credits the peer, seldom and in large pieces. */
  refill(): void {
    const { connectionWindowBytes, unconsumedBytesMax, frameBytesMax } = this.limits;
    const missing = Math.min(connectionWindowBytes, unconsumedBytesMax - this.unconsumedBytes) - this.window;
    const isLow = this.window < frameBytesMax && missing >= frameBytesMax;
    if (missing < connectionWindowBytes / 2 && !isLow) return;
    this.window += missing;
    this.writer.windowUpdate(0, missing);
  }
}
