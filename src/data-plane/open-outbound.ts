import net from "node:net";
import { type Http1Connection, noEdits, problemAnswer, serveHttp1, type Verdict } from "./http1/index.ts";
import { type ListenAddress, listen } from "./listen.ts";
import type { ProxyContext } from "./proxy-context.ts";
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
    // Why the request at hand goes nowhere; one connection has one request at a time.
    let refusal: RouteRefusal | undefined;
    const connection = serveHttp1(socket, {
      decide: ({ host }): Verdict => {
        const upstream = router.route(host);
        refusal = upstream.ok ? undefined : upstream.reason;
        if (upstream.ok) return { kind: "forward", upstream: upstream.value, edits: noEdits };
        const { reason, detail } = upstream;
        return problemAnswer({ status: statusOf(reason), reason, detail });
      },
      timer: context.timer,
      onComplete: ({ error, status }) => {
        context.metrics.totals.outbound += 1;
        context.metrics.requests.inc({
          direction: "outbound",
          outcome: error ?? refusal ?? (status < 500 ? "ok" : "peer-error"),
        });
      },
    });
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

/** What the application asked for is not there, or not there now. */
function statusOf(reason: RouteRefusal): 404 | 503 {
  return reason === "no-instances" || reason === "view-stale" ? 503 : 404;
}
