import net from "node:net";
import tls from "node:tls";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { MeshError } from "../base/mesh-error.ts";
import { peerKeyOf } from "./pinned-certificate.ts";
import { rpcAuthority } from "./rpc-authority.ts";
import type { TlsIdentity } from "./tls-identity.ts";

const connectTimeoutMillis = 5_000;
const pingIntervalMillis = 10_000;
const pingTimeoutMillis = 5_000;
/** More than any update of a server that keeps to the protocol; what comes has to be held in memory. */
const messageBytesMax = 16 * 1024 * 1024;

/** Where to connect: a control plane under mutual TLS, or a Unix socket. */
export type RpcTarget =
  | {
      readonly kind: "tls";
      readonly host: string;
      readonly port: number;
      readonly identity?: TlsIdentity;
    }
  | { readonly kind: "unix"; readonly path: string };

/** One connection for calls. It does not reconnect: who the peer is was established for this connection alone. */
export interface RpcConnection extends Disposable {
  readonly transport: Transport;
  /** The Ed25519 key that the server proved to hold; undefined on a Unix socket. The caller must judge it. */
  readonly serverKey: Uint8Array | undefined;
  /** Resolves when the connection is gone, for whatever reason. */
  readonly closed: Promise<void>;
}

/** Connects, or throws `ERR_TRANSPORT_CONNECT` saying where to and why not. */
export async function openRpcConnection(target: RpcTarget): Promise<RpcConnection> {
  const socket = await connect(target);
  const serverKey = socket instanceof tls.TLSSocket ? peerKeyOf(socket) : undefined;
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  const baseUrl = `http://${rpcAuthority}`;
  let isTaken = false;
  // The session manager would connect anew; over a socket that is gone, its calls would hang until a ping times out.
  const takeSocket = (): net.Socket => {
    if (isTaken || socket.destroyed) throw new ConnectError("the connection is gone", Code.Unavailable);
    isTaken = true;
    return socket;
  };
  const sessionManager = new Http2SessionManager(
    baseUrl,
    // Not on idle connections: connect-node 2.2 then sets its timer again after the session has ended, and throws.
    { pingIntervalMs: pingIntervalMillis, pingTimeoutMs: pingTimeoutMillis },
    { createConnection: takeSocket },
  );
  return {
    transport: createGrpcTransport({
      baseUrl,
      sessionManager,
      readMaxBytes: messageBytesMax,
      acceptCompression: [],
    }),
    serverKey,
    closed,
    // Not by the session manager: it stops listening for the error of a session that is ending already, as after a
    // ping without answer, and that would end the process. With the socket go the session, its calls and its timers.
    [Symbol.dispose]: () => {
      socket.destroy();
    },
  };
}

function connect(target: RpcTarget): Promise<net.Socket> {
  const where = target.kind === "unix" ? target.path : `${target.host}:${target.port}`;
  return new Promise((resolve, reject) => {
    const socket = target.kind === "unix" ? net.connect(target.path) : connectTls(target);
    const giveUp = (cause: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(new MeshError("ERR_TRANSPORT_CONNECT", `cannot reach ${where}`, { cause }));
    };
    const timer = setTimeout(
      () => giveUp(new Error(`no answer within ${connectTimeoutMillis} ms`)),
      connectTimeoutMillis,
    );
    socket.once("error", giveUp);
    socket.once(target.kind === "unix" ? "connect" : "secureConnect", () => {
      clearTimeout(timer);
      socket.off("error", giveUp);
      // From here on the HTTP/2 session deals with errors; this keeps a late one from ending the process.
      socket.on("error", () => socket.destroy());
      resolve(socket);
    });
  });
}

function connectTls(target: Extract<RpcTarget, { kind: "tls" }>): tls.TLSSocket {
  const { host, port, identity } = target;
  return tls.connect({
    host,
    port,
    ...(identity === undefined ? {} : { cert: identity.certificatePem, key: identity.privateKeyPem }),
    minVersion: "TLSv1.3",
    // The peer is judged by its key in the trust log, after the handshake and before anything is sent.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ALPNProtocols: ["h2"],
  });
}
