import type { Clock } from "../base/clock.ts";

/** One answer that carried the issuer's time. */
export interface IssuerTimeSample {
  /** When the question left, in this process's monotonic milliseconds. */
  readonly sentMillis: number;
  /** When the answer had come, in this process's monotonic milliseconds. */
  readonly receivedMillis: number;
  /** What the issuer's clock showed in between, in milliseconds since 1970. */
  readonly issuerMillis: number;
}

/**
 * The issuer's time as a process knows it: its own monotonic clock and an offset, so that a step of the machine's wall
 * clock changes nothing.
 */
export interface IssuerClock {
  /** Milliseconds since 1970 in the issuer's time. */
  readonly nowMillis: () => number;
  /**
   * The same, but once anything has been heard of the issuer it never goes back: where the issuer's clock was set back,
   * it goes at half its speed until that has caught up. An audience reads this one, since what it has forgotten must
   * stay in the past; were it to stand, callers would set all their tokens to the same moment.
   */
  readonly steadyMillis: () => number;
  /** How far off that may be, in milliseconds; infinite while nothing has been heard of the issuer. */
  readonly errorMillis: () => number;
  /** Takes an answer into account, unless what is known is better and agrees with it. */
  readonly observe: (sample: IssuerTimeSample) => void;
  /** Believes somebody who said what time it is (a refusal's `troth-issuer-time`), against all that is known. */
  readonly set: (issuerMillis: number) => void;
}

/** How much an unread clock may stray: 200 parts in a million, twice what a cheap quartz does. */
const driftPartsPerMillion = 200;
/** How fast the steady time goes while it is ahead. */
const speedWhileAhead = 0.5;

/** Starts with the machine's wall clock; its error is unknown until the first answer. */
export function issuerClock(clock: Clock): IssuerClock {
  let offsetMillis = clock.nowSeconds() * 1000 - clock.monotonicMillis();
  let errorMillis = Number.POSITIVE_INFINITY;
  let observedMillis = clock.monotonicMillis();
  const errorNow = () =>
    errorMillis + ((clock.monotonicMillis() - observedMillis) * driftPartsPerMillion) / 1_000_000;
  const take = (offset: number, error: number): void => {
    offsetMillis = offset;
    errorMillis = error;
    observedMillis = clock.monotonicMillis();
  };
  const now = () => Math.floor(clock.monotonicMillis() + offsetMillis);
  let latestMillis = Number.NEGATIVE_INFINITY;
  let latestAtMillis = 0;
  return {
    nowMillis: now,
    steadyMillis: () => {
      const atMillis = clock.monotonicMillis();
      const slowMillis = latestMillis + (atMillis - latestAtMillis) * speedWhileAhead;
      const millis = Math.max(slowMillis, atMillis + offsetMillis);
      // The machine's wall clock, of which nothing is known, binds nobody.
      if (errorMillis !== Number.POSITIVE_INFINITY) {
        latestMillis = millis;
        latestAtMillis = atMillis;
      }
      return Math.floor(millis);
    },
    errorMillis: errorNow,
    observe: ({ sentMillis, receivedMillis, issuerMillis }) => {
      const error = (receivedMillis - sentMillis) / 2;
      if (!Number.isFinite(issuerMillis) || !(error >= 0)) return;
      const offset = issuerMillis - (sentMillis + receivedMillis) / 2;
      // Two intervals that do not meet cannot both be right: the issuer's clock was set, and the newer one holds.
      const disagrees = Math.abs(offset - offsetMillis) > error + errorNow();
      if (disagrees || error <= errorNow()) take(offset, error);
    },
    set: (issuerMillis) => {
      if (Number.isFinite(issuerMillis))
        take(issuerMillis - clock.monotonicMillis(), Number.POSITIVE_INFINITY);
    },
  };
}
