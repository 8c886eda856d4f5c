import type { Clock } from "../../base/clock.ts";

/** How often waits are looked at while there are any, in milliseconds. */
export const waitTickMillis = 10;

/** Something that goes on at a moment, which may be moved at any time. */
export interface Wait {
  /** On the clock's monotonic time, in milliseconds; `Infinity` while nothing is waited for. */
  untilMillis: number;
  /** Called once per moment, at it or up to a tick later. */
  onWaited(): void;
}

/**
 * What requests with a traffic policy wait for: the end of their time, of a delay or of the pause before they are
 * repeated. One timer is behind all, and only while there are any; it is finer than that of all connections, because
 * people write timeouts of fractions of a second.
 */
export class Waits implements Disposable {
  readonly #clock: Clock;
  readonly #waits = new Set<Wait>();
  #interval: NodeJS.Timeout | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Now, in milliseconds. */
  get nowMillis(): number {
    return this.#clock.monotonicMillis();
  }

  /** Watches it until it is removed. */
  add(wait: Wait): void {
    this.#waits.add(wait);
    this.#interval ??= setInterval(() => this.tick(), waitTickMillis).unref();
  }

  /** Watches it no longer. */
  remove(wait: Wait): void {
    this.#waits.delete(wait);
  }

  /** Looks at all waits now; the timer rests when there are none. */
  tick(): void {
    const now = this.nowMillis;
    for (const wait of this.#waits) {
      if (wait.untilMillis > now) continue;
      wait.untilMillis = Number.POSITIVE_INFINITY;
      wait.onWaited();
    }
    if (this.#waits.size === 0) this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#interval);
    this.#interval = undefined;
    this.#waits.clear();
  }
}
