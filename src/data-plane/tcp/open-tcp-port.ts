import net from "node:net";
import { messageOf } from "../../base/mesh-error.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { authorityOfServiceName, type ServiceName } from "../../identity/index.ts";
import { isTcpService } from "../../trust-log/index.ts";
import { connectRequest, type Upstream } from "../forwarding/index.ts";
import { defaultHttp1Limits } from "../http1/index.ts";
import { type ListenAddress, listen } from "../listen.ts";
import { notOwnClient, type OwnClients } from "../own-clients.ts";
import type { ProxyContext } from "../proxy-context.ts";
import type { ServiceRouter } from "../routing/index.ts";
import type { RefusedTcp, RefusedTcpLog } from "./refused-tcp.ts";
import { TcpClient, type TcpOutcome } from "./tcp-client.ts";
import { defaultTcpLimits } from "./tcp-limits.ts";

/** A service over TCP, and where the application finds it. */
export interface TcpListener {
  readonly service: ServiceName;
  readonly listenOn: ListenAddress;
}

/** A port of loopback whose connections go to a service over TCP. */
export interface TcpPort extends AsyncDisposable {
  /** host:port. */
  readonly address: string;
  /** Takes no more connections; resolves when those there are have ended. */
  readonly retire: () => Promise<void>;
}

interface TcpPortParts {
  readonly context: ProxyContext;
  readonly router: Pick<ServiceRouter, "route">;
  readonly refused: RefusedTcpLog;
  /** Whoever connects is served unless given. */
  readonly clients?: OwnClients | undefined;
}

/** Opens a port whose every connection is carried to an instance of a service, as a tunnel of the link to it. */
export async function openTcpPort(listener: TcpListener, parts: TcpPortParts): Promise<TcpPort> {
  const { context } = parts;
  const clients = new Map<net.Socket, TcpClient | undefined>();
  const serve = (socket: net.Socket): void => {
    try {
      const client = carry(socket, listener, parts);
      if (client === undefined) return;
      clients.set(socket, client);
      client.start();
    } catch (fault) {
      context.log.error("fault while serving", { error: messageOf(fault) });
      socket.destroy();
    }
  };
  const server = net.createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    clients.set(socket, undefined);
    socket.once("close", () => clients.delete(socket));
    if (parts.clients === undefined) return serve(socket);
    parts.clients.judge(socket, {
      serve: () => serve(socket),
      refuse: () => {
        context.metrics.tcpConnections.outbound.add(notOwnClient);
        socket.resetAndDestroy();
      },
    });
  });
  server.maxConnections = defaultTcpLimits.portConnectionsMax;
  const address = await listen(server, listener.listenOn, context.log);
  return {
    address,
    retire: () => new Promise<void>((resolve) => server.close(() => resolve())),
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const client of clients.values()) client?.destroy();
      for (const socket of clients.keys()) socket.destroy();
      await closed;
    },
  };
}

/** Finds a way for a connection; without one it is reset. */
function carry(
  socket: net.Socket,
  { service, listenOn }: TcpListener,
  { context, router, refused }: TcpPortParts,
): TcpClient | undefined {
  const { metrics, timer } = context;
  const counts = metrics.tcp.outbound;
  const refuse = (why: Omit<RefusedTcp, "service">): void => {
    metrics.tcpConnections.outbound.add(why.reason);
    refused.note({ service, ...why });
  };
  metrics.totals.outbound += 1;
  const way = wayTo(service, { context, router });
  if (!way.ok) {
    refuse({ reason: way.reason, detail: way.detail, decisionId: "" });
    socket.on("error", () => {});
    socket.resetAndDestroy();
    return undefined;
  }
  const request = connectRequest(
    `${authorityOfServiceName(service) ?? ""}:${listenOn.port}`,
    defaultHttp1Limits,
  );
  if (request.kind === "refused") throw new Error(`${service}: ${request.reason}`);
  counts.open += 1;
  return new TcpClient(socket, {
    request,
    upstream: way.value,
    http1Limits: defaultHttp1Limits,
    limits: defaultTcpLimits,
    timer,
    counts,
    onOver: (outcome) => {
      counts.open -= 1;
      const refusal = refusalOf(outcome);
      if (refusal === undefined) metrics.tcpConnections.outbound.add("ok");
      else refuse(refusal);
    },
  });
}

/** Where connections go now; the service may have been declared, or found, since the last one. */
function wayTo(
  service: ServiceName,
  { context, router }: Pick<TcpPortParts, "context" | "router">,
): Result<Upstream, string> {
  const route = router.route(authorityOfServiceName(service) ?? "");
  if (!route.ok) return route;
  if (isTcpService(context.view.follower.state, service)) return ok(route.value.upstream);
  return fail(
    "service-speaks-http",
    `${service} is called over HTTP; whoever runs it may declare TCP: troth run --service ${service} --app-protocol tcp`,
  );
}

/** Why a connection went nowhere, or ended otherwise than its two ends wanted. */
function refusalOf(outcome: TcpOutcome): Omit<RefusedTcp, "service"> | undefined {
  switch (outcome.kind) {
    case "ended":
      return undefined;
    case "refused":
      return outcome.refusal;
    case "failed":
      return { reason: outcome.failure, detail: outcome.detail, decisionId: "" };
  }
}
