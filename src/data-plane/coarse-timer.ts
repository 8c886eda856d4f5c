import type { Clock } from "../base/clock.ts";

/** Something with a deadline that moves often and is missed seldom. */
export interface Deadline {
  /** On the clock of {@link CoarseTimer}, in milliseconds; `Infinity` while nothing is waited for. */
  deadlineMillis: number;
  /** Called once per deadline, at it or up to a tick later. */
  onDeadline(): void;
}

/** How often deadlines are looked at, in milliseconds. */
export const tickMillis = 500;

/**
 * All deadlines of a process, behind one timer. To set a deadline is to write a number, so a request may do it at
 * every step; the price is one comparison per connection and tick.
 */
export class CoarseTimer implements Disposable {
  readonly clock: Clock;
  /** The time of the last tick; deadlines are counted from it, so they are at most one tick early. */
  nowMillis: number;
  private readonly deadlines = new Set<Deadline>();
  private interval: NodeJS.Timeout | undefined;

  constructor(clock: Clock) {
    this.clock = clock;
    this.nowMillis = clock.monotonicMillis();
  }

  /** Begins to tick; does not keep the process alive. */
  start(): this {
    this.interval ??= setInterval(() => this.tick(), tickMillis).unref();
    return this;
  }

  /** A deadline that will not fire before `millis` from now. */
  in(millis: number): number {
    return this.nowMillis + millis + tickMillis;
  }

  /** Watches a deadline from now on. */
  add(deadline: Deadline): void {
    this.deadlines.add(deadline);
  }

  /** Watches it no longer. */
  remove(deadline: Deadline): void {
    this.deadlines.delete(deadline);
  }

  /** Looks at all deadlines now. */
  tick(): void {
    this.nowMillis = this.clock.monotonicMillis();
    for (const deadline of this.deadlines) {
      if (deadline.deadlineMillis > this.nowMillis) continue;
      deadline.deadlineMillis = Number.POSITIVE_INFINITY;
      deadline.onDeadline();
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.interval);
    this.deadlines.clear();
  }
}
