/**
 * What a peer may ask of us without being of use: a number of events at once, refilled over time and by real work.
 * Time is the coarse timer's, so a refill costs no system call.
 */
export class FrameBudget {
  private readonly burstMax: number;
  private readonly perSecondMax: number;
  private left: number;
  private filledMillis: number;

  constructor(burstMax: number, perSecondMax: number, nowMillis: number) {
    this.burstMax = burstMax;
    this.perSecondMax = perSecondMax;
    this.left = burstMax;
    this.filledMillis = nowMillis;
  }

  /** Spends; false once there is nothing left. */
  spend(events: number, nowMillis: number): boolean {
    if (nowMillis > this.filledMillis) {
      this.earn(((nowMillis - this.filledMillis) * this.perSecondMax) / 1000);
      this.filledMillis = nowMillis;
    }
    this.left -= events;
    return this.left >= 0;
  }

  /** Gives back, up to the burst. */
  earn(events: number): void {
    this.left = Math.min(this.burstMax, this.left + events);
  }
}
