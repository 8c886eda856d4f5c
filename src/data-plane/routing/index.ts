export {
  type AdvertisedInstance,
  advertisedPrefixesMax,
  isSignedAdvertisement,
  parseAdvertisement,
  signAdvertisement,
} from "./advertisement.ts";
export { advertisementLimits } from "./advertisements.ts";
export { balancingLimits } from "./balancing-limits.ts";
export { type DialRefusal, dialPeer } from "./dial-peer.ts";
export { zoneOf } from "./instance-facts.ts";
export type { KnownEndpoint } from "./known-endpoint.ts";
export { checkEndpoint } from "./open-instance-link.ts";
export {
  type Located,
  type Route,
  type RouteRefusal,
  ServiceRouter,
} from "./service-router.ts";
export { carrierHttp2Limits } from "./zone-routers.ts";
