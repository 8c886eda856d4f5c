import net from "node:net";
import { messageOf } from "../base/mesh-error.ts";
import { fail, type Result } from "../base/result.ts";
import { isTcpService } from "../trust-log/index.ts";
import {
  type CompletedRequest,
  type Http2Connection,
  problemAnswer,
  type RequestHead,
  type RequestObserver,
  serveHttp1,
  serveHttp2,
  type Verdict,
} from "./forwarding/index.ts";
import { noEdits } from "./http1/index.ts";
import { type ListenAddress, listen } from "./listen.ts";
import type { ProxyContext } from "./proxy-context.ts";
import { type HttpVersion, RequestTrace } from "./request-trace.ts";
import type { Route, RouteRefusal, ServiceRouter } from "./service-router.ts";

/** Why a request of the application is not forwarded. */
type OutboundRefusal = RouteRefusal | "service-speaks-tcp" | "service-speaks-http";

const connectionsMax = 10_000;

interface AppConnection {
  destroy(): void;
}

/** The side of a proxy that its own application calls. */
export interface Outbound extends AsyncDisposable {
  /** host:port, on loopback. */
  readonly address: string;
}

/** Opens the listener for the application's own requests, in plain HTTP: `Host` or `:authority` names the service. */
export async function openOutbound(options: {
  readonly context: ProxyContext;
  readonly router: ServiceRouter;
  readonly listenOn: ListenAddress;
}): Promise<Outbound> {
  const { context, router, listenOn } = options;
  const connections = new Map<net.Socket, AppConnection>();
  const server = net.createServer({ noDelay: true }, (socket) => {
    const connection = serveApp(context, router, socket);
    connections.set(socket, connection);
    socket.once("close", () => connections.delete(socket));
  });
  server.maxConnections = connectionsMax;
  const address = await listen(server, listenOn, context.log);
  return {
    address,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const connection of connections.values()) connection.destroy();
      await closed;
    },
  };
}

/** Serves what the application speaks: HTTP/1.1, or HTTP/2 from the first byte on. */
function serveApp(context: ProxyContext, router: ServiceRouter, socket: net.Socket): AppConnection {
  const { timer, log } = context;
  const onFault = (fault: unknown): void => log.error("fault while serving", { error: messageOf(fault) });
  const tunnels = { kinds: ["websocket", "connect"], randomBytes: context.randomBytes } as const;
  const one = new OutboundRequest(context, router, "1");
  let http2: Http2Connection | undefined;
  const http1 = serveHttp1(socket, {
    decide: (request) => one.decide(request),
    onComplete: (event) => one.onComplete(event),
    timer,
    tunnels,
    onFault,
    onHttp2: (first) => {
      const observe = (): OutboundRequest => new OutboundRequest(context, router, "2");
      const onViolation = context.violations.of("outbound", "application");
      http2 = serveHttp2(socket, { observe, timer, tunnels, onFault, onViolation }, first);
    },
  });
  return { destroy: () => (http2 ?? http1).destroy() };
}

/** Requests of the application, one after the other: each is given its way, and its outcome counted and traced. */
class OutboundRequest implements RequestObserver {
  readonly #context: ProxyContext;
  readonly #router: ServiceRouter;
  readonly #trace: RequestTrace;
  #refusal: OutboundRefusal | undefined;
  #service = "";

  constructor(context: ProxyContext, router: ServiceRouter, version: HttpVersion) {
    this.#context = context;
    this.#router = router;
    this.#trace = new RequestTrace(context.tracer, noEdits.add, version);
  }

  decide(request: RequestHead): Verdict {
    const edits = this.#trace.begin(request);
    const route = this.#routeOf(request);
    this.#refusal = route.ok ? undefined : route.reason;
    this.#service = route.ok ? route.value.service : "";
    if (route.ok) return { kind: "forward", upstream: route.value.upstream, edits };
    const { reason, detail } = route;
    return problemAnswer({ status: statusOf(reason), reason, detail, missing: missingFor(reason) });
  }

  /** A service is called over HTTP or over TCP, as the log says. */
  #routeOf(request: RequestHead): Result<Route, OutboundRefusal> {
    const route = this.#router.route(request.host);
    if (!route.ok) return route;
    const { service } = route.value;
    const isTcp = isTcpService(this.#context.view.follower.state, service);
    if (isTcp === (request.tunnel === "connect")) return route;
    return isTcp
      ? fail(
          "service-speaks-tcp",
          `${service} is called over TCP, by CONNECT or at a port: troth run --tcp ${service}`,
        )
      : fail("service-speaks-http", `${service} is called over HTTP; ask it without CONNECT`);
  }

  onComplete({ request, status, durationMicros, error: failure }: CompletedRequest): void {
    const { metrics, view, service: caller } = this.#context;
    const error = failure ?? this.#refusal;
    // A head that was refused was about nothing.
    const service = request === undefined ? "" : this.#service;
    metrics.totals.outbound += 1;
    if (request?.tunnel === "connect")
      metrics.tcpConnections.outbound.add(error ?? (status < 300 ? "ok" : "refused"));
    else {
      metrics.requests.outbound.add(error ?? (status < 500 ? "ok" : "peer-error"));
      const method = request?.method ?? "";
      metrics.outboundDurations.observe({ service, method, status, error, durationMicros });
    }
    if (request === undefined || !this.#trace.isRecording) return;
    const attributes = { "troth.caller": caller, "troth.tree_size": view.follower.size };
    this.#trace.finish({ side: "client", request, service, status, error, durationMicros, attributes });
  }
}

/** What the application asked for is not there, or not there now. */
function statusOf(reason: OutboundRefusal): 404 | 421 | 503 {
  if (reason === "service-speaks-tcp" || reason === "service-speaks-http") return 421;
  return reason === "no-instances" || reason === "view-stale" ? 503 : 404;
}

function missingFor(reason: OutboundRefusal): string {
  switch (reason) {
    case "service-speaks-tcp":
      return "a TCP connection";
    case "service-speaks-http":
      return "a request of HTTP";
    case "not-a-mesh-name":
      return "a Host that names a service, like payments.shop.mesh";
    case "unknown-service":
      return "a service of this name in the trust log";
    case "no-instances":
      return "a running instance of the service";
    case "view-stale":
      return "news from the trust log, by way of the node agent";
  }
}
