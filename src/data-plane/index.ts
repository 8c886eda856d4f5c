export type { AppProtocol } from "./app-upstream.ts";
export { openSidecar, type Sidecar } from "./open-sidecar.ts";
export type { SidecarOptions } from "./sidecar-options.ts";
export type { TcpListener } from "./tcp/index.ts";
