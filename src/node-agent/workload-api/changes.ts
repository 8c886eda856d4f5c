/** Tells those who wait that something has changed; whoever looks again knows by the count what was missed meanwhile. */
export class Changes {
  #count = 0;
  readonly #waiting = new Set<() => void>();
  readonly #callbacks = new Set<() => void>();

  /** How many changes there have been. */
  get count(): number {
    return this.#count;
  }

  /** Something has changed. */
  notify(): void {
    this.#count += 1;
    for (const finish of this.#waiting) finish();
    for (const callback of this.#callbacks) callback();
  }

  /** Calls back at every change until the returned function is called. */
  onChange(callback: () => void): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  /** Resolves once there have been more changes than `seen`, the signal aborts, or the time, if any, is up. */
  after(seen: number, signal: AbortSignal, timeoutMillis?: number): Promise<void> {
    if (this.#count > seen || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(finish);
        signal.removeEventListener("abort", finish);
        resolve();
      };
      const timer = timeoutMillis === undefined ? undefined : setTimeout(finish, timeoutMillis);
      this.#waiting.add(finish);
      signal.addEventListener("abort", finish);
    });
  }
}
