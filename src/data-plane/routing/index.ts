export { type KnownEndpoint, type Route, type RouteRefusal, ServiceRouter } from "./service-router.ts";
