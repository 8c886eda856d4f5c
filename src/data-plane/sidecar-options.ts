import type { AppAddress } from "./app-upstream.ts";
import type { ListenAddress } from "./listen.ts";
import type { ProxyOptions } from "./proxy-options.ts";

/** What a sidecar needs. */
export interface SidecarOptions extends ProxyOptions {
  /** Where the application listens; nothing is advertised until it does. */
  readonly app: AppAddress;
  readonly inbound: { readonly host: string; readonly port: number };
  readonly outbound: ListenAddress;
}
