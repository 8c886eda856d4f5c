export { balancingLimits } from "./balancing-limits.ts";
export { type KnownEndpoint, type Route, type RouteRefusal, ServiceRouter } from "./service-router.ts";
