/** How long a request-token key is good for, in milliseconds of the issuer's time. */
export const keyPeriodMillis = 600_000;

/** The number of the key period that a moment of the issuer's time (milliseconds since 1970) lies in. */
export function keyPeriodAt(millis: number): number {
  return Math.floor(millis / keyPeriodMillis);
}

/** The first millisecond, in the issuer's time, of a key period; the last is the one before the next period's first. */
export function keyPeriodStartsMillis(keyPeriod: number): number {
  return keyPeriod * keyPeriodMillis;
}
