/** How far a request token's time may be from the audience's, both in milliseconds of the issuer's time. */
export interface ReplayWindow {
  /** How old a token may be: the way, the queue and both clocks' errors. */
  readonly pastMillis: number;
  /** How far ahead of the audience it may be: both clocks' errors. */
  readonly futureMillis: number;
}

/** The window of a service that names none. */
export const defaultReplayWindow: ReplayWindow = { pastMillis: 30_000, futureMillis: 5_000 };

/** The narrow window, for services whose callers are near. */
export const narrowReplayWindow: ReplayWindow = { pastMillis: 5_000, futureMillis: 1_000 };
