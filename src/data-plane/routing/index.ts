export { balancingLimits } from "./balancing-limits.ts";
export { type DialRefusal, dialPeer } from "./dial-peer.ts";
export { checkEndpoint } from "./open-instance-link.ts";
export {
  type KnownEndpoint,
  type Located,
  type Route,
  type RouteRefusal,
  ServiceRouter,
} from "./service-router.ts";
export { carrierHttp2Limits } from "./zone-routers.ts";
