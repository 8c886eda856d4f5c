import type { OnReadOpts } from "node:net";
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

/** Opens a TLS connection to `host:port`; its peer has not been judged, and nothing has been said on it yet. */
export function dialPeer(
  address: string,
  svid: SvidInUse,
  { signal, offered, onread }: Dial,
): Promise<Result<tls.TLSSocket, "connect-failed" | "handshake-failed">> {
  const [, host, port] = /^(.+):([0-9]{1,5})$/.exec(address) ?? [];
  if (host === undefined || port === undefined)
    return Promise.resolve(fail("connect-failed", `${address} is not host:port`));
  return new Promise((resolve) => {
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
    const onAbort = (): void => {
      socket.destroy(new Error("given up"));
    };
    const settle = (result: Result<tls.TLSSocket, "connect-failed" | "handshake-failed">): void => {
      signal.removeEventListener("abort", onAbort);
      resolve(result);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    let isConnected = false;
    socket.once("connect", () => {
      isConnected = true;
    });
    socket.on("error", (error) =>
      settle(fail(isConnected ? "handshake-failed" : "connect-failed", error.message)),
    );
    socket.once("secureConnect", () => settle(ok(socket)));
  });
}
