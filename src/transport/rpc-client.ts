import net from "node:net";
import tls from "node:tls";
import type { Transport } from "@connectrpc/connect";
import { MeshError } from "../base/mesh-error.ts";
import { grpcTransport } from "./grpc-transport.ts";
import { peerKeyOf } from "./pinned-certificate.ts";
import type { TlsIdentity } from "./tls-identity.ts";

const connectTimeoutMillis = 5_000;

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
  return {
    transport: grpcTransport(socket),
    serverKey,
    closed,
    // With the socket go the session, its calls and its timers.
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
