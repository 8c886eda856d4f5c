import type { ForwardedRequest, Upstream } from "../forwarding/index.ts";
import type { TcpCounts } from "./tcp-counts.ts";
import { TcpExchange } from "./tcp-exchange.ts";
import { defaultTcpLimits, type TcpLimits } from "./tcp-limits.ts";
import { TcpShares } from "./tcp-shares.ts";

/** TCP connections of a proxy to the application beside it, one for each tunnel. */
export class AppTcp {
  readonly #address: { readonly host: string; readonly port: number };
  readonly #counts: TcpCounts;
  readonly #limits: TcpLimits;
  readonly #shares: TcpShares;

  constructor(
    { host, port }: { readonly host: string; readonly port: number },
    counts: TcpCounts,
    limits: TcpLimits = defaultTcpLimits,
  ) {
    this.#address = { host, port };
    this.#counts = counts;
    this.#limits = limits;
    this.#shares = new TcpShares(limits);
  }

  /** What takes the tunnels of a calling instance on. */
  for(instance: string): Upstream {
    const shares = this.#shares;
    const counts = this.#counts;
    const dial = {
      ...this.#address,
      counts,
      limits: this.#limits,
      whenFull: "the application has as many connections as it may have",
      open: (): boolean => {
        const isRoom = shares.add(instance);
        counts.open = shares.size;
        return isRoom;
      },
      close: (): void => {
        shares.remove(instance);
        counts.open = shares.size;
      },
    };
    return { begin: (request: ForwardedRequest) => new TcpExchange(request, dial) };
  }
}
