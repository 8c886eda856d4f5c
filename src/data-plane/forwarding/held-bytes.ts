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

  /** Keeps nothing. */
  clear(): void {
    this.window = undefined;
    this.at = 0;
  }
}
