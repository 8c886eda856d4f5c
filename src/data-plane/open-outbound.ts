import net from "node:net";
import { type Http1Connection, noEdits, problemAnswer, serveHttp1, type Verdict } from "./http1/index.ts";
import { type ListenAddress, listen } from "./listen.ts";
import type { ProxyContext } from "./proxy-context.ts";
import { RequestTrace } from "./request-trace.ts";
import type { RouteRefusal, ServiceRouter } from "./service-router.ts";

const connectionsMax = 10_000;

/** The side of a proxy that its own application calls. */
export interface Outbound extends AsyncDisposable {
  /** host:port, on loopback. */
  readonly address: string;
}

/** Opens the listener for the application's own requests, in plain HTTP: `Host` names the service. */
export async function openOutbound(options: {
  readonly context: ProxyContext;
  readonly router: ServiceRouter;
  readonly listenOn: ListenAddress;
}): Promise<Outbound> {
  const { context, router, listenOn } = options;
  const connections = new Map<net.Socket, Http1Connection>();
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

function serveApp(context: ProxyContext, router: ServiceRouter, socket: net.Socket): Http1Connection {
  const trace = new RequestTrace(context.tracer, noEdits.add);
  // Of the request at hand; one connection has one at a time.
  let refusal: RouteRefusal | undefined;
  let service = "";
  return serveHttp1(socket, {
    decide: (request): Verdict => {
      const edits = trace.begin(request);
      const route = router.route(request.host);
      refusal = route.ok ? undefined : route.reason;
      service = route.ok ? route.value.service : "";
      if (route.ok) return { kind: "forward", upstream: route.value.upstream, edits };
      const { reason, detail } = route;
      return problemAnswer({ status: statusOf(reason), reason, detail, missing: missingFor(reason) });
    },
    timer: context.timer,
    onComplete: (event) => {
      const { request, status, durationMicros } = event;
      const { metrics, view } = context;
      const error = event.error ?? refusal;
      // A head that was refused was about nothing.
      const callee = request === undefined ? "" : service;
      metrics.totals.outbound += 1;
      metrics.requests.outbound.add(error ?? (status < 500 ? "ok" : "peer-error"));
      const method = request?.method ?? "";
      metrics.outboundDurations.observe({ service: callee, method, status, error, durationMicros });
      if (request === undefined || !trace.isRecording) return;
      const attributes = { "troth.caller": context.service, "troth.tree_size": view.follower.size };
      trace.finish({ side: "client", request, service, status, error, durationMicros, attributes });
    },
  });
}

/** What the application asked for is not there, or not there now. */
function statusOf(reason: RouteRefusal): 404 | 503 {
  return reason === "no-instances" || reason === "view-stale" ? 503 : 404;
}

function missingFor(reason: RouteRefusal): string {
  switch (reason) {
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
