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
import { codeOf, MeshError } from "../base/mesh-error.ts";
import { peerKeyOf } from "./pinned-certificate.ts";
import type { TlsIdentity } from "./tls-identity.ts";

const handshakeTimeoutMillis = 5_000;
const connectionsMax = 10_000;
const messageBytesMax = 16 * 1024 * 1024;

/** Where a server listens: a TCP port under mutual TLS, or a Unix socket that only its owner can open. */
export type RpcListen =
  | {
      readonly kind: "tls";
      readonly host: string;
      readonly port: number;
      readonly identity: TlsIdentity;
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
 * {@link peerKey} what its caller may do, so that a refusal can say why.
 */
export async function openRpcServer(
  listen: RpcListen,
  routes: (router: ConnectRouter) => void,
): Promise<RpcServer> {
  const peers = new WeakMap<http2.Http2Session, Uint8Array>();
  const handler = connectNodeAdapter({
    routes,
    readMaxBytes: messageBytesMax,
    contextValues: (request): ContextValues => {
      const session = "stream" in request ? request.stream.session : undefined;
      return createContextValues().set(peerKey, session === undefined ? undefined : peers.get(session));
    },
  });
  const sessions = new Set<http2.ServerHttp2Session>();
  const rpc = http2.createServer({}, handler);
  rpc.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => session.destroy());
    session.once("close", () => sessions.delete(session));
  });

  const sockets = new Set<net.Socket>();
  const accept = (socket: net.Socket, key: Uint8Array | undefined): void => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    // The session is made while 'connection' is emitted, so this socket's is the next one.
    rpc.once("session", (session) => {
      if (key !== undefined) peers.set(session, key);
    });
    rpc.emit("connection", socket);
  };
  const listener =
    listen.kind === "unix"
      ? net.createServer((socket) => accept(socket, undefined))
      : tlsListener(listen, accept);
  listener.maxConnections = connectionsMax;
  const address = await startListening(listener, listen);
  return {
    address,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
      for (const session of sessions) session.destroy();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function tlsListener(
  listen: Extract<RpcListen, { kind: "tls" }>,
  accept: (socket: tls.TLSSocket, key: Uint8Array | undefined) => void,
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
  server.on("secureConnection", (socket) => {
    if (socket.isSessionReused()) socket.destroy();
    else accept(socket, peerKeyOf(socket));
  });
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  return server;
}

function startListening(server: net.Server, listen: RpcListen): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
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
