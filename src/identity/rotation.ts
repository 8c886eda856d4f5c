/** The seconds since 1970 between which a credential is valid. */
export interface ValidityPeriod {
  readonly notBeforeSeconds: number;
  readonly notAfterSeconds: number;
}

const jitterShare = 0.1;
/** Each takes so long of the issuer's time where people, or a tainted authority, have made many due: fifty a second. */
const renewalMillisEach = 20;
const renewalSpreadMillisMax = 30_000;

/**
 * When to replace a credential, in seconds since 1970: after half of its life, up to a tenth of that half earlier or
 * later, so that copies started together do not renew together. `random` is at least 0 and below 1.
 */
export function nextRotationSeconds(validity: ValidityPeriod, random: number): number {
  const halfLifeSeconds = (validity.notAfterSeconds - validity.notBeforeSeconds) / 2;
  return validity.notBeforeSeconds + halfLifeSeconds * (1 + jitterShare * (2 * random - 1));
}

/** Over how long so many credentials that still count are replaced, each at a moment of its own; one is at once. */
export function renewalSpreadMillis(count: number): number {
  return Math.min(renewalSpreadMillisMax, Math.max(0, count - 1) * renewalMillisEach);
}
