import { connect, type OnReadOpts, type Socket } from "node:net";
import { codeOf } from "../../base/mesh-error.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import type { OpenConnection } from "./connection-pool.ts";

/** Where a plain TCP or Unix socket listens. */
export type SocketAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** Without news for so long, the kernel asks whether the other end is there (TCP keep-alive). */
const keepAliveDelayMillis = 30_000;

/** For sockets and listeners: a peer that has vanished is noticed, and its socket closed, although nobody speaks. */
export const keptAlive = { keepAlive: true, keepAliveInitialDelay: keepAliveDelayMillis } as const;

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
    const read = onread === undefined ? {} : { onread };
    const socket = connect({ ...address, ...read, ...keptAlive, noDelay: true });
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
