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
  /** Shows another key to whoever connects from now on, over TLS. */
  present(identity: TlsIdentity): void;
}

/** Context of every call: the Ed25519 key that the caller proved to hold, or undefined for none. */
export const peerKey: ReturnType<typeof createContextKey<Uint8Array | undefined>> = createContextKey<
  Uint8Array | undefined
>(undefined, { description: "the caller's Ed25519 key" });

/** Context of every call: the accepted connection it came over where that is one of a Unix socket. */
export const unixConnection: ReturnType<typeof createContextKey<net.Socket | undefined>> = createContextKey<
  net.Socket | undefined
>(undefined, { description: "the connection of a Unix socket" });

/**
 * Serves `routes`. Over TLS every caller is asked for a certificate and none is turned away here: each call decides by
 * {@link peerKey} what its caller may do, so that a refusal can say why.
 */
export async function openRpcServer(
  listen: RpcListen,
  routes: (router: ConnectRouter) => void,
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
      contextValues: (request): ContextValues => {
        const { key, connection } = callerOf(request);
        return createContextValues().set(peerKey, key).set(unixConnection, connection);
      },
    });
  const members = handlerWith(messageBytesMax);
  const others = handlerWith(strangers.messageBytesMax);
  const rpc = http2.createServer(
    { settings: { maxConcurrentStreams: streamsPerConnectionMax } },
    (request, response) => {
      if (isFromBrowser(request)) response.writeHead(403).end();
      else (callerOf(request).isStranger ? others : members)(request, response);
    },
  );

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
  const secured = listen.kind === "tls" ? tlsListener(listen, accept) : undefined;
  const listener = secured ?? net.createServer((socket) => accept(socket, localCaller(socket)));
  listener.maxConnections = connectionsMax;
  const address = await startListening(listener, listen);
  return {
    address,
    present: (identity) => secured?.setSecureContext(contextOf(identity)),
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
  /** Behind a Unix socket: whoever its folder lets in. */
  readonly connection?: net.Socket;
}

function localCaller(connection: net.Socket): Caller {
  return { key: undefined, isStranger: false, connection };
}

const unknown: Caller = { key: undefined, isStranger: true };
/** node:http2 writes the port of the scheme behind it. */
const authorities: ReadonlySet<string> = new Set([rpcAuthority, `${rpcAuthority}:80`]);

/**
 * Our clients name an authority that no page has for an address, and browsers say which page a request comes from; so
 * neither a page nor a name that resolves to this machine gets further. It also keeps what is no authority at all away
 * from the adapter, which would throw.
 */
function isFromBrowser({ headers }: http2.Http2ServerRequest): boolean {
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
    ...contextOf(listen.identity),
    requestCert: true,
    rejectUnauthorized: false,
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

function contextOf({ certificatePem, privateKeyPem }: TlsIdentity): tls.SecureContextOptions {
  return {
    cert: certificatePem,
    key: privateKeyPem,
    minVersion: "TLSv1.3",
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
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
