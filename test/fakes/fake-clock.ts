import type { Clock } from "../../src/base/clock.ts";

/** A clock that stands still until it is told to move. */
export interface FakeClock extends Clock {
  /** Moves both the wall clock and the monotonic clock forward. */
  readonly advanceSeconds: (seconds: number) => void;
  /** Sets the wall clock alone, as a person or NTP would. */
  readonly setWallSeconds: (seconds: number) => void;
}

/** Makes a fake clock that shows `startSeconds`. */
export function fakeClock(startSeconds = 1_800_000_000): FakeClock {
  let wall = startSeconds;
  let monotonic = 0;
  return {
    nowSeconds: () => wall,
    monotonicMillis: () => monotonic,
    advanceSeconds: (seconds) => {
      wall += seconds;
      monotonic += seconds * 1000;
    },
    setWallSeconds: (seconds) => {
      wall = seconds;
    },
  };
}
