export { InstanceLink, type OpenedLink, type OpenLink } from "./instance-link.ts";
export { defaultLinkLimits, type LinkLimits } from "./link-limits.ts";
export { type LinkOptions, type ServedLink, serveLink } from "./serve-link.ts";
export type { RequestObserver } from "./served-stream.ts";
export { type LinkChoice, StreamExchange } from "./stream-exchange.ts";
