export { ExhaustedTraces } from "./exhausted-traces.ts";
export { OwnPatience } from "./patience.ts";
export type { MirrorOutcome, RetryOutcome, TrafficCounts } from "./traffic-counts.ts";
export { trafficLimits } from "./traffic-limits.ts";
export { TrafficPolicies } from "./traffic-policies.ts";
