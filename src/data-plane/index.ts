export type { AppProtocol } from "./app-upstream.ts";
export {
  defaultSourceLimits,
  type EdgeCertificate,
  type EdgeListenerSettings,
  type Gateway,
  type GatewayOptions,
  type GatewayRoute,
  type GatewaySettings,
  openGateway,
} from "./gateway/index.ts";
export { type Export, type ExportedCredentials, type ExportOptions, openExport } from "./open-export.ts";
export {
  type CalledProxy,
  type HandConnection,
  type HandMember,
  type HandReply,
  type HandRequest,
  openHandMember,
} from "./open-hand-member.ts";
export { openSidecar, type Sidecar } from "./open-sidecar.ts";
export type { ProxyOptions, ProxyRole } from "./proxy-options.ts";
export type { SidecarOptions } from "./sidecar-options.ts";
export type { TcpListener } from "./tcp/index.ts";
export {
  defaultRouterLimits,
  openRouter,
  type Router,
  type RouterLimits,
  type RouterOptions,
} from "./zone-router/index.ts";
