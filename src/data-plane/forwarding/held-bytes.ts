import type { BodyCursor } from "../http1/index.ts";

/** Bytes from a client that nobody has taken yet, in one window from `at` on. */
export class HeldBytes {
  window: Buffer | undefined;
  at = 0;

  /** Adds what a chunk holds from an offset on. */
  add(chunk: Buffer, from: number): void {
    const { window } = this;
    this.window =
      window === undefined ? chunk : Buffer.concat([window.subarray(this.at), chunk.subarray(from)]);
    this.at = window === undefined ? from : 0;
  }

  /** Moves to what follows the bytes taken; a negative end took none. */
  consume(end: number): void {
    if (end < 0 || this.window === undefined) return;
    this.at = end;
    if (end === this.window.length) this.clear();
  }

  /** Takes what there is of a body, without its framing; undefined where its framing is wrong. */
  takeBody(body: BodyCursor): Buffer | undefined {
    const { window, at } = this;
    if (window === undefined) return nothing;
    const end = body.advance(window, at, window.length);
    if (end < 0) return undefined;
    this.consume(end);
    return body.payloadOf(window.subarray(at, end), at);
  }

  /** Keeps nothing. */
  clear(): void {
    this.window = undefined;
    this.at = 0;
  }
}

const nothing = Buffer.alloc(0);
