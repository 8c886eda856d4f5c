import type { Clock } from "../base/clock.ts";

/** A token bucket for each of a bounded number of callers. */
export interface RateLimit {
  /**
   * Whether this caller may go on now: whether it has a token left. Takes `cost` if so, one unless given; what it does
   * not have it owes, and 0 only looks.
   */
  readonly take: (caller: string, cost?: number) => boolean;
}

/** Allows each caller `perSecond` on average and `burst` at once; forgets the longest idle beyond `callersMax`. */
export function openRateLimit(
  clock: Clock,
  {
    perSecond,
    burst,
    callersMax,
  }: { readonly perSecond: number; readonly burst: number; readonly callersMax: number },
): RateLimit {
  const buckets = new Map<string, { tokens: number; atMillis: number }>();
  return {
    take: (caller, cost = 1) => {
      const now = clock.monotonicMillis();
      const bucket = buckets.get(caller) ?? { tokens: burst, atMillis: now };
      // Set anew, so that the first key of the map is always the longest idle.
      buckets.delete(caller);
      buckets.set(caller, bucket);
      bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.atMillis) / 1000) * perSecond);
      bucket.atMillis = now;
      if (buckets.size > callersMax) for (const [idle] of buckets.entries().take(1)) buckets.delete(idle);
      if (bucket.tokens < 1) return false;
      bucket.tokens -= cost;
      return true;
    },
  };
}
