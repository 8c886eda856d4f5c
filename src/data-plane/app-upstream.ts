import { messageOf } from "../base/mesh-error.ts";
import { ok } from "../base/result.ts";
import {
  ConnectionPool,
  connectTcp,
  defaultLinkLimits,
  defaultPoolLimits,
  Http2Exchange,
  InstanceLink,
  isGrpcRequest,
  openTcp,
  type RequestHead,
  type Upstream,
} from "./forwarding/index.ts";
import { appHttp2Limits } from "./http2/index.ts";
import type { ProxyContext } from "./proxy-context.ts";

/** What an application speaks; with `auto` HTTP/2 for calls of gRPC, which know nothing else, and HTTP/1.1 otherwise. */
export type AppProtocol = "auto" | "http1" | "http2";

/** Where an application listens, and what it speaks. */
export interface AppAddress {
  readonly host: string;
  readonly port: number;
  /** `auto` unless given. */
  readonly protocol?: AppProtocol;
}

/** What of a proxy the way to its application needs. */
interface AppContext extends Pick<ProxyContext, "timer" | "log"> {
  readonly violations: Pick<ProxyContext["violations"], "of">;
}

/** The connections of a proxy to the application beside it, in plain TCP. */
export class AppUpstream {
  readonly #http1: ConnectionPool;
  readonly #link: InstanceLink;
  readonly #http2: Upstream;
  readonly #protocol: AppProtocol;

  constructor({ host, port, protocol = "auto" }: AppAddress, { timer, log, violations }: AppContext) {
    const address = { host, port };
    const link = new InstanceLink({
      open: async (signal) => {
        const connected = await connectTcp(address, signal);
        return connected.ok ? ok({ socket: connected.value, isHttp2: true }) : connected;
      },
      timer,
      limits: { ...defaultLinkLimits, http2: appHttp2Limits },
      observer: {
        onOpened: () => violations.of("inbound", "application"),
        onFault: (fault) => log.error("fault while forwarding", { error: messageOf(fault) }),
      },
    });
    const choice = {
      pick: (tried: readonly InstanceLink[]) => (tried.length === 0 ? link : undefined),
      hasOther: () => false,
      avoid: () => {},
    };
    this.#http1 = new ConnectionPool(openTcp(address), defaultPoolLimits, timer);
    this.#link = link;
    this.#http2 = { begin: (request) => new Http2Exchange(request, choice) };
    this.#protocol = protocol;
  }

  /** What takes a request. */
  for(request: RequestHead): Upstream {
    if (this.#protocol === "http1") return this.#http1;
    return this.#protocol === "http2" || isGrpcRequest(request) ? this.#http2 : this.#http1;
  }

  /** Breaks everything. */
  close(): void {
    this.#http1.close();
    this.#link.close();
  }
}
