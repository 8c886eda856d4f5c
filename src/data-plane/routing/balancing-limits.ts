import { slownessLimits } from "./answer-times.ts";
import { balancerLimits } from "./balancer.ts";
import { standingLimits } from "./standing.ts";

/** The limits by which instances are chosen, for whoever wants to see them. */
export const balancingLimits: Readonly<Record<string, number>> = {
  ...balancerLimits,
  ...standingLimits,
  ...slownessLimits,
};
