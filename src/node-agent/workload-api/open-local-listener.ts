import { chmod, rm } from "node:fs/promises";
import http2 from "node:http2";
import net from "node:net";
import { type ConnectRouter, createContextValues } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { codeOf, MeshError } from "../../base/mesh-error.ts";
import { connectionCaller } from "./caller-context.ts";
import type { ConnectionCaller } from "./connection-caller.ts";

const connectionsMax = 2_000;
const streamsPerConnectionMax = 64;
/** Requests hold names, an audience and perhaps a token. */
const messageBytesMax = 256 * 1024;
/** A connection that has not made a call by then is closed. */
const silentMillisMax = 30_000;

/** Where workloads of this machine find the agent. */
export type LocalEndpoint =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

/** A listener for gRPC over cleartext HTTP/2. */
export interface LocalListener extends AsyncDisposable {
  /** As `SPIFFE_ENDPOINT_SOCKET` has it: `unix:///path` or `tcp://127.0.0.1:port`. */
  readonly address: string;
}

/**
 * Serves `routes` to processes of this machine. Every user's may connect: what a call is answered with depends on who
 * is at the other end of its connection, which calls have in their context. Throws where an address is not of loopback.
 */
export async function openLocalListener(
  endpoint: LocalEndpoint,
  routes: (router: ConnectRouter) => void,
  callerOf: (socket: net.Socket) => ConnectionCaller,
): Promise<LocalListener> {
  const callers = new WeakMap<http2.Http2Session, ConnectionCaller>();
  const answer = connectNodeAdapter({
    routes,
    readMaxBytes: messageBytesMax,
    acceptCompression: [],
    connect: false,
    grpcWeb: false,
    contextValues: (request) => {
      const session = "stream" in request ? request.stream.session : undefined;
      const caller = session === undefined ? undefined : callers.get(session);
      const values = createContextValues();
      return caller === undefined ? values : values.set(connectionCaller, caller);
    },
  });
  const rpc = http2.createServer(
    { settings: { maxConcurrentStreams: streamsPerConnectionMax } },
    (request, response) => {
      // Of a web page, which could only be an attack.
      if (request.headers["origin"] !== undefined) {
        response.writeHead(403).end();
        return;
      }
      // Of no meaning here. gRPC's C core puts the path of the socket into it; the adapter throws at what is no host.
      request.headers[":authority"] = "localhost";
      answer(request, response);
    },
  );
  const sockets = new Set<net.Socket>();
  const listener = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => sockets.delete(socket));
    const noteSession = (session: http2.ServerHttp2Session): void => {
      callers.set(session, callerOf(socket));
      const silent = setTimeout(() => socket.destroy(), silentMillisMax);
      session.once("stream", () => clearTimeout(silent));
      socket.once("close", () => clearTimeout(silent));
      session.on("error", () => session.destroy());
    };
    // The session is made while 'connection' is emitted, or not at all; a later one is another caller's.
    rpc.once("session", noteSession);
    rpc.emit("connection", socket);
    rpc.off("session", noteSession);
  });
  listener.maxConnections = connectionsMax;
  const address = await listen(listener, endpoint);
  return {
    address,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function listen(server: net.Server, endpoint: LocalEndpoint): Promise<string> {
  if (endpoint.kind === "tcp" && !isLoopback(endpoint.host))
    throw new MeshError(
      "ERR_NODE_AGENT_LISTEN",
      `workloads are served on loopback alone, where it can be told who calls; not on ${endpoint.host}`,
    );
  // Of an agent that was killed; none that lives has it, since this one has the folder's lock.
  if (endpoint.kind === "unix") await rm(endpoint.path, { force: true });
  const where = endpoint.kind === "unix" ? endpoint.path : `${endpoint.host}:${endpoint.port}`;
  await new Promise<void>((resolve, reject) => {
    // Stays on, so that an error after the start does not end the process.
    server.on("error", (cause) => {
      const why = codeOf(cause) === "EADDRINUSE" ? "it is in use by another process" : cause.message;
      reject(new MeshError("ERR_NODE_AGENT_LISTEN", `cannot listen on ${where}: ${why}`, { cause }));
    });
    if (endpoint.kind === "unix") server.listen({ path: endpoint.path }, resolve);
    else server.listen({ host: endpoint.host, port: endpoint.port }, resolve);
  });
  if (endpoint.kind === "unix") {
    await chmod(endpoint.path, 0o777);
    return `unix://${endpoint.path}`;
  }
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : endpoint.port;
  return `tcp://${net.isIPv6(endpoint.host) ? `[${endpoint.host}]` : endpoint.host}:${port}`;
}

function isLoopback(host: string): boolean {
  return host === "::1" || (net.isIPv4(host) && host.startsWith("127."));
}
