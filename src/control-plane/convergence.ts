import type { Clock } from "../base/clock.ts";

/** Changes that are remembered; a follower that is further behind is measured from the oldest of them. */
const changesMax = 512;

/** Measures how long changes of the trust log take to reach its followers. */
export class Convergence {
  readonly #clock: Clock;
  readonly #observe: (seconds: number) => void;
  readonly #changes: { readonly size: number; readonly atMillis: number }[] = [];

  /** `observe` gets a number of seconds for every follower and every report of its progress. */
  constructor(clock: Clock, observe: (seconds: number) => void) {
    this.#clock = clock;
    this.#observe = observe;
  }

  /** The log has this size from now on. */
  changed(size: number): void {
    if (size <= (this.#changes.at(-1)?.size ?? 0)) return;
    this.#changes.push({ size, atMillis: this.#clock.monotonicMillis() });
    if (this.#changes.length > changesMax) this.#changes.shift();
  }

  /** A follower that was at `before` is at `size` now: the change that it has waited for longest counts. */
  reached(before: number, size: number): void {
    const oldest = this.#changes.find((change) => change.size > before);
    if (oldest === undefined || oldest.size > size) return;
    this.#observe((this.#clock.monotonicMillis() - oldest.atMillis) / 1000);
  }
}
