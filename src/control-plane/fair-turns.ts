/**
 * Turns for pieces of work that each take a while on the one thread that there is: one in each turn of the event loop,
 * so that all else goes on between them, and callers in turn, so that whoever has much to do waits for itself.
 */
export class FairTurns {
  readonly #waitingMax: number;
  /** Of each caller that waits, in the order in which they are next. */
  readonly #waiting = new Map<string, (() => void)[]>();

  /** Of each caller, at most so many may wait. */
  constructor(waitingMax: number) {
    this.#waitingMax = waitingMax;
  }

  /** Resolves when it is this caller's turn, to be used at once; with false, at once, where too many of its own wait. */
  take(caller: string): Promise<boolean> {
    const own = this.#waiting.get(caller) ?? [];
    if (own.length >= this.#waitingMax) return Promise.resolve(false);
    return new Promise((resolve) => {
      if (this.#waiting.size === 0) setImmediate(() => this.#next());
      own.push(() => resolve(true));
      this.#waiting.set(caller, own);
    });
  }

  #next(): void {
    for (const [caller, own] of this.#waiting.entries().take(1)) {
      const first = own.shift();
      this.#waiting.delete(caller);
      if (own.length > 0) this.#waiting.set(caller, own);
      first?.();
    }
    if (this.#waiting.size > 0) setImmediate(() => this.#next());
  }
}
