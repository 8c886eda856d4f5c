import type { CoarseTimer } from "../coarse-timer.ts";

/** How long a client that has ended its side is taken for one that waits for its answer. */
const askClientMillis = 1_000;
const asksMax = 2;

/** How long a request over HTTP/1.1 may still take, and whether its client has been found to wait for it; coarse milliseconds. */
export class Http1Patience {
  /** When what is waited for is overdue, whatever is asked before. */
  dueMillis = 0;
  private readonly timer: CoarseTimer;
  private tunnelUntilMillis = Number.POSITIVE_INFINITY;
  private asksLeft = asksMax;

  constructor(timer: CoarseTimer) {
    this.timer = timer;
  }

  waitAtMost(millis: number): void {
    this.dueMillis = Math.min(this.timer.in(millis), this.tunnelUntilMillis);
  }

  /** A tunnel has so long to end, whatever goes on in it. */
  endTunnelWithin(millis: number): void {
    this.tunnelUntilMillis = this.timer.in(millis);
    this.dueMillis = Math.min(this.dueMillis, this.tunnelUntilMillis);
  }

  get isOver(): boolean {
    return this.timer.nowMillis >= this.dueMillis;
  }

  get isTunnelOver(): boolean {
    return this.timer.nowMillis >= this.tunnelUntilMillis;
  }

  /**
   * Whether a client that has ended its side is still to be asked if it is there. One that waits takes a 100 (Continue)
   * for nothing, as it must (RFC 9110, 15.2); from one that has gone a reset comes back, which the second one meets.
   */
  get mayAsk(): boolean {
    return this.asksLeft > 0;
  }

  asked(): void {
    this.asksLeft -= 1;
  }

  /** When to look again: to ask, or because it is over. */
  deadline(isAsking: boolean): number {
    return isAsking ? Math.min(this.dueMillis, this.timer.in(askClientMillis)) : this.dueMillis;
  }
}
