import type { ProcessTree } from "../peer-process/index.ts";
import type { AppAddress } from "./app-upstream.ts";
import type { ListenAddress } from "./listen.ts";
import type { ProxyOptions } from "./proxy-options.ts";
import type { TcpListener } from "./tcp/index.ts";
import type { HealthCheck } from "./watch-app.ts";

/** What a sidecar needs. */
export interface SidecarOptions extends ProxyOptions {
  /** Where the application listens; nothing is advertised until it does. */
  readonly app: AppAddress;
  readonly inbound: { readonly host: string; readonly port: number };
  readonly outbound: ListenAddress;
  /**
   * Whether it takes the place of a running sidecar: it then takes the application's requests only once the mesh has
   * been told of it, so that what it replaces can go.
   */
  readonly replaces?: boolean;
  /** Ports of loopback for the application's connections to services over TCP; none unless given. */
  readonly tcp?: readonly TcpListener[];
  /** The processes that `outbound` and `tcp` are for; whoever connects is served unless given. */
  readonly clients?: ProcessTree | undefined;
  /** How the application is found healthy; callers are sent to it while it is. A connection is enough unless given. */
  readonly health?: HealthCheck | undefined;
}
