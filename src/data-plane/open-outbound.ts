import net from "node:net";
import { messageOf } from "../base/mesh-error.ts";
import { fail, type Result } from "../base/result.ts";
import { isTcpService } from "../trust-log/index.ts";
import {
  type CompletedRequest,
  keptAlive,
  type ProblemAudience,
  problemAnswer,
  type RequestHead,
  type RequestObserver,
  serveHttp,
  type Verdict,
} from "./forwarding/index.ts";
import { noEdits } from "./http1/index.ts";
import { appClientHttp2Limits } from "./http2/index.ts";
import { type ListenAddress, listen } from "./listen.ts";
import { notOwnClient, type OwnClients } from "./own-clients.ts";
import type { ProxyContext } from "./proxy-context.ts";
import { type HttpVersion, RequestTrace } from "./request-trace.ts";
import type { Route, RouteRefusal, ServiceRouter } from "./routing/index.ts";

/** Why a request is not forwarded. */
type OutboundRefusal = RouteRefusal | "service-speaks-tcp" | "service-speaks-http";

const connectionsMax = 10_000;

interface AppConnection {
  /** Lets it end with what it carries, so that no request is lost. */
  retire(): void;
  destroy(): void;
}

/** The side of a proxy that its own application calls. */
export interface Outbound extends AsyncDisposable {
  /** host:port, on loopback. */
  readonly address: string;
  /**
   * Takes no new connections, without resetting any that wait on a socket which another process listens on too, and has
   * the application leave the others. Resolves once it has.
   */
  readonly retire: () => Promise<void>;
}

/**
 * Opens the listener for the application's own requests, in plain HTTP: `Host` or `:authority` names the service. With
 * `clients`, connections of others get a problem for an answer.
 */
export async function openOutbound(options: {
  readonly context: ProxyContext;
  readonly router: ServiceRouter;
  readonly listenOn: ListenAddress;
  readonly clients?: OwnClients | undefined;
}): Promise<Outbound> {
  const { context, router, listenOn, clients } = options;
  const connections = new Map<net.Socket, AppConnection>();
  const pauseOnConnect = clients !== undefined;
  const server = net.createServer({ noDelay: true, ...keptAlive, pauseOnConnect }, (socket) => {
    const serve = (): AppConnection => serveApp(context, router, socket);
    connections.set(
      socket,
      clients === undefined ? serve() : serveJudged(socket, { context, clients, serve }),
    );
    socket.once("close", () => connections.delete(socket));
  });
  server.maxConnections = connectionsMax;
  const address = await listen(server, listenOn, context.log);
  return {
    address,
    retire: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const connection of connections.values()) connection.retire();
      }),
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const connection of connections.values()) connection.destroy();
      await closed;
    },
  };
}

/** Serves a connection once it is known to be the application's; one that is told to leave before that does so then. */
function serveJudged(
  socket: net.Socket,
  parts: {
    readonly context: ProxyContext;
    readonly clients: OwnClients;
    readonly serve: () => AppConnection;
  },
): AppConnection {
  let served: AppConnection | undefined;
  let isRetiring = false;
  const begin = (connection: AppConnection): void => {
    served = connection;
    if (isRetiring) connection.retire();
    socket.resume();
  };
  parts.clients.judge(socket, {
    serve: () => begin(parts.serve()),
    refuse: (detail) => begin(refuseClient(parts.context, socket, detail)),
  });
  return {
    retire: () => {
      isRetiring = true;
      served?.retire();
    },
    destroy: () => (served === undefined ? void socket.destroy() : served.destroy()),
  };
}

/** Answers whatever is asked with why nothing is served here; HTTP/1.1 ends with the first answer. */
function refuseClient(context: ProxyContext, socket: net.Socket, detail: string): AppConnection {
  const answer = problemAnswer({
    status: 403,
    reason: notOwnClient,
    detail: `this port is for the application behind it: ${detail}`,
    missing: "a process that the application has started, or troth run --outbound-clients any",
    close: true,
  });
  return serveHttp(socket, {
    observe: () => ({
      decide: () => answer,
      onComplete: () => context.metrics.requests.outbound.add(notOwnClient),
    }),
    timer: context.timer,
    http2Limits: appClientHttp2Limits,
    onFault: () => {},
    onViolation: () => context.violations.of("outbound", "application"),
  });
}

/** Serves what the application speaks: HTTP/1.1, or HTTP/2 from the first byte on. */
function serveApp(context: ProxyContext, router: ServiceRouter, socket: net.Socket): AppConnection {
  const { timer, log } = context;
  const onFault = (fault: unknown): void => log.error("fault while serving", { error: messageOf(fault) });
  const find: FindRoute = (request) => router.route(request.host);
  const tunnels = { kinds: ["websocket", "connect"], randomBytes: context.randomBytes } as const;
  return serveHttp(socket, {
    observe: (version) => new OutboundRequest(context, find, version),
    timer,
    tunnels,
    http2Limits: appClientHttp2Limits,
    onFault,
    onViolation: () => context.violations.of("outbound", "application"),
  });
}

/** Finds where a request goes. */
export type FindRoute = (request: RequestHead) => Result<Route, RouteRefusal>;

/** Requests of a client, one after the other: each is given its way, and its outcome counted and traced. */
export class OutboundRequest implements RequestObserver {
  readonly #context: ProxyContext;
  readonly #find: FindRoute;
  readonly #trace: RequestTrace;
  readonly #audience: ProblemAudience;
  #refusal: OutboundRefusal | undefined;
  #service = "";

  constructor(
    context: ProxyContext,
    find: FindRoute,
    version: HttpVersion,
    audience: ProblemAudience = "member",
  ) {
    this.#context = context;
    this.#find = find;
    this.#audience = audience;
    this.#trace = new RequestTrace(context.tracer, () => noEdits.add, version);
  }

  decide(request: RequestHead): Verdict {
    const edits = this.#trace.begin(request);
    const route = this.#routeOf(request);
    this.#refusal = route.ok ? undefined : route.reason;
    this.#service = route.ok ? route.value.service : "";
    if (route.ok) return { kind: "forward", upstream: route.value.upstream, edits };
    const { reason, detail } = route;
    const problem = { status: statusOf(reason), reason, detail, missing: missingFor(reason) };
    return problemAnswer(problem, this.#audience);
  }

  /** A service is called over HTTP or over TCP, as the log says. */
  #routeOf(request: RequestHead): Result<Route, OutboundRefusal> {
    const route = this.#find(request);
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

/** What was asked for is not there, or not there now. */
function statusOf(reason: OutboundRefusal): 403 | 404 | 421 | 429 | 503 {
  switch (reason) {
    case "quarantined":
      return 403;
    case "host-not-served":
    case "service-speaks-tcp":
    case "service-speaks-http":
      return 421;
    case "too-many-requests":
      return 429;
    case "no-instances":
    case "view-stale":
      return 503;
    case "no-route":
    case "not-a-mesh-name":
    case "unknown-service":
      return 404;
  }
}

function missingFor(reason: OutboundRefusal): string {
  switch (reason) {
    case "host-not-served":
      return "a route of the gateway for this host";
    case "no-route":
      return "a route of the gateway for this path";
    case "too-many-requests":
      return "the end of other requests from this address";
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
    case "quarantined":
      return "a newer decision: troth instance release";
    case "view-stale":
      return "news from the trust log, by way of the node agent";
  }
}
