import { connect, type OnReadOpts, type Socket } from "node:net";
import { codeOf } from "../../base/mesh-error.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import type { OpenConnection } from "./connection-pool.ts";

/** Where a plain TCP or Unix socket listens. */
export type SocketAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** Opens plain connections to an address: from a sidecar to the application beside it. */
export function openTcp(address: SocketAddress): OpenConnection {
  return (onread, signal) => connectTcp(address, signal, onread);
}

/** Opens one plain connection; without `onread` its bytes come as `data` events. Stops at `signal`. */
export function connectTcp(
  address: SocketAddress,
  signal: AbortSignal,
  onread?: OnReadOpts,
): Promise<Result<Socket, "connect-failed">> {
  return new Promise((resolve) => {
    const socket = connect({ ...address, ...(onread === undefined ? {} : { onread }), noDelay: true });
    const onAbort = (): void => {
      socket.destroy(new Error("given up"));
    };
    const settle = (result: Result<Socket, "connect-failed">): void => {
      signal.removeEventListener("abort", onAbort);
      resolve(result);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("error", (error) => settle(fail("connect-failed", codeOf(error) ?? "")));
    socket.once("connect", () => settle(ok(socket)));
  });
}
