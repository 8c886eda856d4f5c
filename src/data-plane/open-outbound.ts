import net from "node:net";
import { MeshError } from "../base/mesh-error.ts";
import { type Http1Connection, noEdits, problemAnswer, serveHttp1 } from "./http1/index.ts";
import type { ProxyContext } from "./proxy-context.ts";
import type { ServiceRouter } from "./service-router.ts";

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
  readonly host: string;
  readonly port: number;
}): Promise<Outbound> {
  const { context, router, host, port } = options;
  const connections = new Map<net.Socket, Http1Connection>();
  const server = net.createServer({ noDelay: true }, (socket) => {
    const connection = serveHttp1(socket, {
      decide: (request) => {
        const upstream = router.route(request.host);
        if (upstream.ok) return { kind: "forward", upstream: upstream.value, edits: noEdits };
        const status = upstream.reason === "no-instances" ? 503 : 404;
        return problemAnswer({ status, reason: upstream.reason, detail: upstream.detail });
      },
      timer: context.timer,
      onComplete: ({ error, status }) => {
        context.metrics.totals.outbound += 1;
        context.metrics.requests.inc({
          direction: "outbound",
          outcome: error ?? (status < 500 ? "ok" : "peer-error"),
        });
      },
    });
    connections.set(socket, connection);
    socket.once("close", () => connections.delete(socket));
  });
  server.maxConnections = connectionsMax;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) =>
      reject(new MeshError("ERR_DATA_PLANE_LISTEN", `cannot listen on ${host}:${port}`, { cause })),
    );
    server.listen({ host, port }, () => resolve());
  });
  const address = server.address();
  return {
    address: typeof address === "object" && address !== null ? `${host}:${address.port}` : "",
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const connection of connections.values()) connection.destroy();
      await closed;
    },
  };
}
