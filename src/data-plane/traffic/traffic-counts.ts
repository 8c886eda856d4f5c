/** Counts by one value of a closed set. */
interface Counts<Value extends string> {
  add(value: Value): void;
}

/** What became of the attempts after the first, and of those that were not made. */
export type RetryOutcome =
  | "tried"
  | "succeeded"
  | "used-up"
  | "budget-exhausted"
  | "exhausted-further-on"
  | "body-too-large";

/** What became of a copy of a request. */
export type MirrorOutcome = "answered" | "failed" | "too-large" | "too-many" | "no-instances";

/** What a proxy counts of what its traffic policies do. */
export interface TrafficCounts {
  readonly retries: Counts<RetryOutcome>;
  /** Ends of the time of a whole request, and of one attempt. */
  readonly timeouts: Counts<"request" | "attempt">;
  readonly mirrored: Counts<MirrorOutcome>;
  readonly faults: Counts<"delay" | "status">;
}
