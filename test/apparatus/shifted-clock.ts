import type { Clock } from "../../src/base/clock.ts";

/** The machine's clock, displaced as a test wants it; timers of the machine are not. */
export interface ShiftedClock extends Clock {
  /** Moves the wall clock alone, as a person or NTP would. */
  readonly shiftWall: (seconds: number) => void;
  /** Moves the monotonic clock alone, as if so much time had passed without news. */
  readonly shiftMonotonic: (seconds: number) => void;
}

/**
 * Moves both clocks of a process of this one, and waits until its timers have seen it: what begins in between would be
 * taken to have lasted so long.
 */
export async function stepClocks(clock: ShiftedClock, seconds: number): Promise<void> {
  clock.shiftWall(seconds);
  clock.shiftMonotonic(seconds);
  await new Promise((resolve) => setTimeout(resolve, twoTicksMillis));
}

const twoTicksMillis = 1_100;

/** Makes a clock that shows the machine's time until it is shifted. */
export function shiftedClock(): ShiftedClock {
  let wall = 0;
  let monotonic = 0;
  return {
    nowSeconds: () => Date.now() / 1000 + wall,
    monotonicMillis: () => performance.now() + monotonic,
    shiftWall: (seconds) => {
      wall += seconds;
    },
    shiftMonotonic: (seconds) => {
      monotonic += seconds * 1000;
    },
  };
}
