/** A median with the interval in which the true one lies with 95 % confidence; no interval from too few values. */
export interface Estimate {
  readonly median: number;
  readonly low: number | undefined;
  readonly high: number | undefined;
}

const confidence = 0.95;

/** The middle value, or the mean of the middle two; NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = sortedCopy(values);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? Number.NaN;
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? Number.NaN) + upper) / 2 : upper;
}

/**
 * Median and its two-sided 95 % interval by order statistics, which assume nothing about how the values are
 * distributed: the k-th smallest and the k-th largest enclose the median unless fewer than k values fell to one side
 * of it. Six values are the fewest that give an interval.
 */
export function estimate(values: readonly number[]): Estimate {
  const sorted = sortedCopy(values);
  const rank = rankWithin((1 - confidence) / 2, sorted.length);
  if (rank === 0) return { median: median(sorted), low: undefined, high: undefined };
  return { median: median(sorted), low: sorted[rank - 1], high: sorted.at(-rank) };
}

/** What the true median does not exceed with 95 % confidence (one-sided); undefined of fewer than five values. */
export function medianUpperBound(values: readonly number[]): number | undefined {
  const rank = rankWithin(1 - confidence, values.length);
  return rank === 0 ? undefined : sortedCopy(values).at(-rank);
}

/** The largest k for which fewer than k of `count` fair coins show heads with at most this probability; 0 for none. */
function rankWithin(probability: number, count: number): number {
  let rank = 0;
  let term = 0.5 ** count;
  let sum = term;
  while (rank < count && sum <= probability) {
    rank += 1;
    term *= (count - rank + 1) / rank;
    sum += term;
  }
  return rank;
}

function sortedCopy(values: readonly number[]): number[] {
  return [...values].sort((left, right) => left - right);
}
