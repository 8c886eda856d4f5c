import { constants } from "node:crypto";
import http2 from "node:http2";
import net from "node:net";
import tls from "node:tls";
import {
  type ConnectRouter,
  type ContextValues,
  createContextKey,
  createContextValues,
} from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { hexOf } from "../base/bytes.ts";
import { codeOf, MeshError } from "../base/mesh-error.ts";
import { HalfOpen, sourceOf } from "./half-open.ts";
import { peerKeyOf } from "./pinned-certificate.ts";
import { QuickCalls } from "./quick-calls.ts";
import { rpcAuthority } from "./rpc-authority.ts";
import type { TlsIdentity } from "./tls-identity.ts";

const handshakeTimeoutMillis = 5_000;
const connectionsMax = 10_000;
const halfOpenPerSourceMax = 256;
const connectionsPerKeyMax = 64;
const streamsPerConnectionMax = 128;
const messageBytesMax = 4 * 1024 * 1024;
/** What is not known can neither stay nor send much: it reads the log and joins, or is an operator's mistake. */
const strangers = {
  connectionsMax: 256,
  /** Of one source, so that it leaves room for others; loopback is one for all that run on this machine. */
  connectionsPerSourceMax: 192,
  connectionMillisMax: 60_000,
  messageBytesMax: 64 * 1024,
};

/** Where a server listens: a TCP port under mutual TLS, or a Unix socket that only its owner can open. */
export type RpcListen =
  | {
      readonly kind: "tls";
      readonly host: string;
      readonly port: number;
      readonly identity: TlsIdentity;
      /** Whether a key is of the mesh; other callers are strangers, who get little room. Without it nobody is one. */
      readonly isKnown?: (key: Uint8Array) => boolean;
    }
  | { readonly kind: "unix"; readonly path: string };

/** A server of Connect and gRPC calls. */
export interface RpcServer extends AsyncDisposable {
  /** host:port, or the path of the socket. */
  readonly address: string;
}

/** Context of every call: the Ed25519 key that the caller proved to hold, or undefined for none. */
export const peerKey: ReturnType<typeof createContextKey<Uint8Array | undefined>> = createContextKey<
  Uint8Array | undefined
>(undefined, { description: "the caller's Ed25519 key" });

/**
 * Serves `routes`. Over TLS every caller is asked for a certificate and none is turned away here: each call decides by
 * {@link peerKey} what its caller may do, so that a refusal can say why. Calls that are among the `quick` ones are not
 * told who makes them.
 */
export async function openRpcServer(
  listen: RpcListen,
  routes: (router: ConnectRouter) => void,
  quick = new QuickCalls(),
): Promise<RpcServer> {
  const callers = new WeakMap<http2.Http2Session, Caller>();
  const callerOf = (request: Parameters<RequestHandler>[0]): Caller => {
    const session = "stream" in request ? request.stream.session : undefined;
    return (session === undefined ? undefined : callers.get(session)) ?? unknown;
  };
  const handlerWith = (readMaxBytes: number): RequestHandler =>
    connectNodeAdapter({
      routes,
      readMaxBytes,
      acceptCompression: [],
      contextValues: (request): ContextValues => createContextValues().set(peerKey, callerOf(request).key),
    });
  const members = handlerWith(messageBytesMax);
  const others = handlerWith(strangers.messageBytesMax);
  // Never listens: it makes requests and answers of streams, for the library.
  const requests = http2.createServer((request, response) =>
    (callerOf(request).isStranger ? others : members)(request, response),
  );
  const rpc = http2.createServer({ settings: { maxConcurrentStreams: streamsPerConnectionMax } });
  rpc.on("stream", (stream: http2.ServerHttp2Stream, headers, flags, rawHeaders) => {
    if (isFromBrowser(headers)) stream.respond({ ":status": 403 }, { endStream: true });
    else if (!quick.take(stream, headers)) requests.emit("stream", stream, headers, flags, rawHeaders);
  });

  const sockets = new Set<net.Socket>();
  const connections = new Map<string, number>();
  const strangersOf = new Map<string, number>();
  const accept = (socket: net.Socket, caller: Caller): void => {
    const name = caller.isStranger || caller.key === undefined ? "" : hexOf(caller.key);
    const count = (connections.get(name) ?? 0) + 1;
    const countMax = caller.isStranger ? strangers.connectionsMax : connectionsPerKeyMax;
    const source = caller.isStranger ? sourceOf(socket) : "";
    const sourceCount = (strangersOf.get(source) ?? 0) + 1;
    socket.on("error", () => socket.destroy());
    const isTooMany =
      count > countMax || (caller.isStranger && sourceCount > strangers.connectionsPerSourceMax);
    if (isTooMany && listen.kind === "tls") {
      socket.destroy();
      return;
    }
    connections.set(name, count);
    if (caller.isStranger) strangersOf.set(source, sourceCount);
    sockets.add(socket);
    const timer = caller.isStranger
      ? setTimeout(() => socket.destroy(), strangers.connectionMillisMax)
      : undefined;
    socket.once("close", () => {
      clearTimeout(timer);
      sockets.delete(socket);
      countDown(connections, name);
      if (caller.isStranger) countDown(strangersOf, source);
    });
    // The session is made while 'connection' is emitted, or not at all; a later one is another caller's.
    const noteCaller = (session: http2.ServerHttp2Session): void => {
      callers.set(session, caller);
      session.on("error", () => session.destroy());
    };
    rpc.once("session", noteCaller);
    rpc.emit("connection", socket);
    rpc.off("session", noteCaller);
  };
  const listener =
    listen.kind === "unix"
      ? net.createServer((socket) => accept(socket, local))
      : tlsListener(listen, accept);
  listener.maxConnections = connectionsMax;
  const address = await startListening(listener, listen);
  return {
    address,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function countDown(counts: Map<string, number>, name: string): void {
  const left = (counts.get(name) ?? 1) - 1;
  if (left > 0) counts.set(name, left);
  else counts.delete(name);
}

type RequestHandler = ReturnType<typeof connectNodeAdapter>;

/** Who is at the other end of a connection. */
interface Caller {
  readonly key: Uint8Array | undefined;
  readonly isStranger: boolean;
}

/** Behind a Unix socket: whoever its folder lets in. */
const local: Caller = { key: undefined, isStranger: false };
const unknown: Caller = { key: undefined, isStranger: true };
/** node:http2 writes the port of the scheme behind it. */
const authorities: ReadonlySet<string> = new Set([rpcAuthority, `${rpcAuthority}:80`]);

/**
 * Our clients name an authority that no page has for an address, and browsers say which page a request comes from; so
 * neither a page nor a name that resolves to this machine gets further. It also keeps what is no authority at all away
 * from the adapter, which would throw.
 */
function isFromBrowser(headers: http2.IncomingHttpHeaders): boolean {
  return (
    !authorities.has(headers[":authority"] ?? "") ||
    headers["origin"] !== undefined ||
    headers["sec-fetch-site"] !== undefined
  );
}

function tlsListener(
  listen: Extract<RpcListen, { kind: "tls" }>,
  accept: (socket: tls.TLSSocket, caller: Caller) => void,
): tls.Server {
  const server = tls.createServer({
    cert: listen.identity.certificatePem,
    key: listen.identity.privateKeyPem,
    minVersion: "TLSv1.3",
    requestCert: true,
    rejectUnauthorized: false,
    secureOptions: constants.SSL_OP_NO_TICKET,
    ALPNProtocols: ["h2"],
    handshakeTimeout: handshakeTimeoutMillis,
  });
  const halfOpen = new HalfOpen(halfOpenPerSourceMax);
  server.on("connection", (socket) => halfOpen.add(socket));
  server.on("secureConnection", (socket) => {
    halfOpen.settle(socket);
    if (socket.isSessionReused() || socket.alpnProtocol !== "h2") {
      socket.destroy();
      return;
    }
    const key = peerKeyOf(socket);
    const isKnown = listen.isKnown === undefined || (key !== undefined && listen.isKnown(key));
    accept(socket, { key, isStranger: !isKnown });
  });
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  return server;
}

function startListening(server: net.Server, listen: RpcListen): Promise<string> {
  return new Promise((resolve, reject) => {
    // Stays on, so that an error after the start does not end the process.
    server.on("error", (cause) => {
      const where = listen.kind === "unix" ? listen.path : `${listen.host}:${listen.port}`;
      const why = codeOf(cause) === "EADDRINUSE" ? "it is in use by another process" : cause.message;
      reject(new MeshError("ERR_TRANSPORT_LISTEN", `cannot listen on ${where}: ${why}`, { cause }));
    });
    const onListening = (): void => {
      const address = server.address();
      resolve(
        typeof address === "object" && address !== null
          ? `${listen.kind === "tls" ? listen.host : ""}:${address.port}`
          : String(address),
      );
    };
    if (listen.kind === "unix") server.listen({ path: listen.path }, onListening);
    else server.listen({ host: listen.host, port: listen.port }, onListening);
  });
}
