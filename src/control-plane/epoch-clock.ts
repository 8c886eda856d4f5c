import type { Clock } from "../base/clock.ts";

/** How far the wall clock may move against the monotonic one before that is a jump. */
const jumpSecondsMin = 30;
/** How long a jump must last before epochs follow it. */
const jumpLastsSecondsMin = 60;

/**
 * The time that goes into epochs. What expires by it is gone for good, so a wall clock that shows the year 2099 for a
 * moment must not get into the log: a jump counts only once it has lasted for a minute. After a sleep, whose length
 * the monotonic clock does not know, epochs lag by that minute and nothing else happens.
 */
export class EpochClock {
  readonly #clock: Clock;
  #wallSeconds: number;
  #monotonicSeconds: number;
  #jumpedAtSeconds: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#wallSeconds = clock.nowSeconds();
    this.#monotonicSeconds = clock.monotonicMillis() / 1000;
  }

  /** Whole seconds since 1970. */
  nowSeconds(): number {
    const monotonicSeconds = this.#clock.monotonicMillis() / 1000;
    const wallSeconds = this.#clock.nowSeconds();
    const expectedSeconds = this.#wallSeconds + monotonicSeconds - this.#monotonicSeconds;
    if (Math.abs(wallSeconds - expectedSeconds) < jumpSecondsMin) this.#follow(wallSeconds, monotonicSeconds);
    else {
      this.#jumpedAtSeconds ??= monotonicSeconds;
      if (monotonicSeconds - this.#jumpedAtSeconds < jumpLastsSecondsMin) return Math.floor(expectedSeconds);
      this.#follow(wallSeconds, monotonicSeconds);
    }
    return Math.floor(wallSeconds);
  }

  #follow(wallSeconds: number, monotonicSeconds: number): void {
    this.#wallSeconds = wallSeconds;
    this.#monotonicSeconds = monotonicSeconds;
    this.#jumpedAtSeconds = undefined;
  }
}
