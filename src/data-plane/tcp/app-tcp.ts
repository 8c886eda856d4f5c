import type { ForwardedRequest, Upstream } from "../forwarding/index.ts";
import type { OpenTunnels, TunnelDecider } from "./open-tunnels.ts";
import type { TcpCounts } from "./tcp-counts.ts";
import { TcpExchange } from "./tcp-exchange.ts";
import { defaultTcpLimits, type TcpLimits } from "./tcp-limits.ts";

/** Where the application listens, and what its connections are counted in. */
export interface AppTcpParts {
  readonly host: string;
  readonly port: number;
  readonly tunnels: OpenTunnels;
  readonly counts: TcpCounts;
  /** How many entries of the trust log are in force. */
  readonly treeSize: () => number;
  readonly limits?: TcpLimits;
}

/** TCP connections of a proxy to the application beside it, one for each tunnel. */
export class AppTcp {
  readonly #parts: AppTcpParts;

  constructor(parts: AppTcpParts) {
    this.#parts = parts;
  }

  /** What takes a tunnel on that is decided on now. Where the log has grown until it begins, it is decided on again. */
  for(decider: TunnelDecider): Upstream {
    const { tunnels, treeSize, limits = defaultTcpLimits, ...dial } = this.#parts;
    const decidedSize = treeSize();
    return {
      begin: (request: ForwardedRequest) =>
        new TcpExchange(request, {
          ...dial,
          limits,
          admit: (exchange) => {
            if (treeSize() !== decidedSize && decider.decideOpenTcp(1) === "deny") return "no-longer-allowed";
            if (!tunnels.add(decider, exchange)) return "too-many-tcp-connections";
            dial.counts.open = tunnels.size;
            return undefined;
          },
          onOver: (exchange) => {
            tunnels.remove(decider, exchange);
            dial.counts.open = tunnels.size;
          },
        }),
    };
  }
}
