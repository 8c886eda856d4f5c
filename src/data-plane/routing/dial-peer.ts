import type { OnReadOpts } from "node:net";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import { fail, ok, type Result } from "../../base/result.ts";
import type { SvidInUse } from "../../transport/index.ts";
import { keptAlive } from "../forwarding/index.ts";
import { type MeshProtocol, meshTlsClient } from "../mesh-tls.ts";

/** How a connection is opened. */
export interface Dial {
  readonly signal: AbortSignal;
  /** All that proxies speak, unless given. */
  readonly offered?: readonly MeshProtocol[];
  readonly onread?: OnReadOpts;
}

/** Why there is no connection. */
export type DialRefusal = "connect-failed" | "handshake-failed";

/** Opens a TLS connection to `host:port`; its peer has not been judged, and nothing has been said on it yet. */
export function dialPeer(
  address: string,
  svid: SvidInUse,
  { signal, offered, onread }: Dial,
): Promise<Result<tls.TLSSocket, DialRefusal>> {
  const [, host, port] = /^(.+):([0-9]{1,5})$/.exec(address) ?? [];
  if (host === undefined || port === undefined)
    return Promise.resolve(fail("connect-failed", `${address} is not host:port`));
  // Node passes `onread` on to the socket although its types do not say so.
  const options: tls.ConnectionOptions & { onread?: OnReadOpts } = {
    ...meshTlsClient(svid, offered),
    host,
    port: Number(port),
    ...(onread === undefined ? {} : { onread }),
  };
  const socket = tls.connect(options);
  socket.setNoDelay(true);
  socket.setKeepAlive(keptAlive.keepAlive, keptAlive.keepAliveInitialDelay);
  return shakeHands(socket, signal, false);
}

/** Opens a TLS connection over a stream that leads to a peer; as of {@link dialPeer}, nobody has judged it yet. */
export function dialOver(
  stream: Duplex,
  svid: SvidInUse,
  { signal, offered }: Omit<Dial, "onread">,
): Promise<Result<tls.TLSSocket, DialRefusal>> {
  return shakeHands(tls.connect({ ...meshTlsClient(svid, offered), socket: stream }), signal, true);
}

function shakeHands(
  socket: tls.TLSSocket,
  signal: AbortSignal,
  wasConnected: boolean,
): Promise<Result<tls.TLSSocket, DialRefusal>> {
  return new Promise((resolve) => {
    const onAbort = (): void => {
      socket.destroy(new Error("given up"));
    };
    const settle = (result: Result<tls.TLSSocket, DialRefusal>): void => {
      signal.removeEventListener("abort", onAbort);
      resolve(result);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    let isConnected = wasConnected;
    socket.once("connect", () => {
      isConnected = true;
    });
    socket.on("error", (error) =>
      settle(fail(isConnected ? "handshake-failed" : "connect-failed", error.message)),
    );
    // A stream under it may end without an error of its own.
    socket.once("close", () => settle(fail("handshake-failed", "closed")));
    socket.once("secureConnect", () => settle(ok(socket)));
    if (signal.aborted) onAbort();
  });
}
