/** A straight line through points, and how sure its slope is. */
export interface Slope {
  readonly perUnit: number;
  /** The ends of its 95 % interval. */
  readonly low: number;
  readonly high: number;
}

/** Student's t for 97.5 % by degrees of freedom, from 1 on. */
const quantiles = [
  12.71, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.2, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.1,
  2.09, 2.09, 2.08, 2.07, 2.07, 2.06, 2.06, 2.06, 2.05, 2.05, 2.05, 2.04,
];

/** Least squares; takes three points at least. */
export function slopeOf(points: readonly (readonly [x: number, y: number])[]): Slope {
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const meanX = mean(points.map(([x]) => x));
  const meanY = mean(points.map(([, y]) => y));
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  const perUnit = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
  const residue = points.reduce((sum, [x, y]) => sum + (y - meanY - perUnit * (x - meanX)) ** 2, 0);
  const freedom = points.length - 2;
  const quantile = quantiles[freedom - 1] ?? 1.98;
  const error = quantile * Math.sqrt(residue / freedom / spread);
  return { perUnit, low: perUnit - error, high: perUnit + error };
}
