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

/** A tick that is later than this was not late: the process did not run. After longer, nothing is as it was. */
const pauseMillisMin = 2_000;
const pauseMillisMax = 60_000;

/**
 * All deadlines of a process, behind one timer. To set a deadline is to write a number, so a request may do it at
 * every step; the price is one comparison per connection and tick.
 */
export class CoarseTimer implements Disposable {
  readonly clock: Clock;
  /** The time of the last tick, without pauses; deadlines are counted from it, so they are at most one tick early. */
  nowMillis: number;
  private readonly deadlines = new Set<Deadline>();
  private interval: NodeJS.Timeout | undefined;
  private lookedMillis: number;
  private pausedMillis = 0;

  constructor(clock: Clock) {
    this.clock = clock;
    this.nowMillis = clock.monotonicMillis();
    this.lookedMillis = this.nowMillis;
  }

  /** Begins to tick; does not keep the process alive. */
  start(): this {
    this.interval ??= setInterval(() => this.tickAgain(), tickMillis).unref();
    return this;
  }

  /**
   * Time in which the process stood still (SIGSTOP, a machine that slept) counts against nobody: what others have sent
   * meanwhile waits to be read, and would be judged as missing.
   */
  private tickAgain(): void {
    const sinceMillis = this.clock.monotonicMillis() - this.lookedMillis;
    if (sinceMillis > pauseMillisMin && sinceMillis <= pauseMillisMax)
      this.pausedMillis += sinceMillis - tickMillis;
    this.tick();
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
    this.lookedMillis = this.clock.monotonicMillis();
    this.nowMillis = this.lookedMillis - this.pausedMillis;
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
