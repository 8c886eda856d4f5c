/** How far the proxies of a mesh are with a size of the trust log. */
export interface ProxyProgress {
  readonly known: number;
  readonly reached: number;
  /** How long was waited. */
  readonly millis: number;
  /** Those that have it, and how long after the log had it their acknowledgement arrived (0: not known). */
  readonly byFollower: readonly {
    readonly service: string;
    readonly instance: string;
    readonly millis: number;
  }[];
}

/** Proxies that have reached a size since the last time. */
export interface ProxyArrivals {
  readonly known: number;
  readonly reached: number;
  readonly now: ProxyProgress["byFollower"];
}

/** The progress as JSON answers carry it. */
export interface ProxiesReached {
  readonly known: number;
  readonly reached: number;
  readonly millis: number;
  /** From the moment the log had the size to a proxy's acknowledgement. */
  readonly millisP50: number;
  readonly millisP99: number;
  readonly millisLast: number;
  readonly behind: readonly ProxyBehind[];
}

/** A proxy that does not have a size yet. */
export interface ProxyBehind {
  readonly service: string;
  readonly instance: string;
  readonly size: number;
}

/** Sums up the progress, with the proxies that are behind. */
export function reachedOf(
  { known, reached, millis, byFollower }: ProxyProgress,
  behind: readonly ProxyBehind[],
): ProxiesReached {
  const times = byFollower.map((one) => one.millis).filter((one) => one > 0);
  return {
    known,
    reached,
    millis,
    millisP50: percentile(times, 0.5),
    millisP99: percentile(times, 0.99),
    millisLast: percentile(times, 1),
    behind,
  };
}

/** `in force in 5 of 6 proxies (p50 412 ms, p99 980 ms)`. */
export function reachedInWords({ known, reached, millisP50, millisP99 }: ProxiesReached): string {
  if (known === 0) return "no proxy runs now";
  const times = millisP99 === 0 ? "" : ` (p50 ${millisP50} ms, p99 ${millisP99} ms)`;
  return `in force in ${reached} of ${known} proxies${times}`;
}

/** The nearest-rank percentile, in whole milliseconds; 0 of nothing. */
function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  return Math.round(sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0);
}
