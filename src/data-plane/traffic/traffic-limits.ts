import { keptBodyBytesMax } from "./kept-body.ts";
import { mirroredInFlightMax, mirrorMillisMax, mirrorResponseBytesMax } from "./mirrors.ts";
import { backoffMillis, backoffMillisMax } from "./policy-exchange.ts";
import { retriesPerWindowMin, retryBudgetPercentDefault } from "./retry-budget.ts";
import { waitTickMillis } from "./waits.ts";

/** The limits of this folder, for whoever wants to see them. */
export const trafficLimits: Readonly<Record<string, number>> = {
  retriesPerWindowMin,
  retryBudgetPercentDefault,
  backoffMillis,
  backoffMillisMax,
  keptBodyBytesMax,
  mirroredInFlightMax,
  mirrorMillisMax,
  mirrorResponseBytesMax,
  waitTickMillis,
};
