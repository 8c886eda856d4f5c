import type { DataClass, StalenessBound } from "./entry-kinds.ts";

const minute = 60;
const hour = 60 * minute;

function same(
  degradeAfterSeconds: number,
  refuseAfterSeconds: number,
): {
  readonly newHandshake: StalenessBound;
  readonly openConnection: StalenessBound;
} {
  const bound = { degradeAfterSeconds, refuseAfterSeconds };
  return { newHandshake: bound, openConnection: bound };
}

/** The table that genesis writes unless its founders choose another: how old the last epoch may be, by data class. */
export const defaultStaleness: {
  readonly [key in DataClass]: {
    readonly newHandshake: StalenessBound;
    readonly openConnection: StalenessBound;
  };
} = {
  public: same(15 * minute, 24 * hour),
  internal: same(15 * minute, 24 * hour),
  confidential: same(5 * minute, hour),
  restricted: same(minute, 15 * minute),
};

/** How fresh a follower's view is, by the table: normal, read-only, or not to be relied on. */
export type Freshness = "fresh" | "degraded" | "stale";

/** Judges the age of the last epoch entry, measured on the local monotonic clock, against a bound. */
export function freshnessOf(ageSeconds: number, bound: StalenessBound): Freshness {
  if (ageSeconds <= bound.degradeAfterSeconds) return "fresh";
  return ageSeconds <= bound.refuseAfterSeconds ? "degraded" : "stale";
}
