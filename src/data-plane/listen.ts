import type { Server } from "node:net";
import type { Log } from "../base/log.ts";
import { MeshError } from "../base/mesh-error.ts";

/** Where a listener is to be; port 0 takes any. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
  /** A socket bound to this address by the process that started this one, and kept by it. */
  readonly descriptor?: number;
}

/** How many connections the kernel keeps while nobody takes them, as between two processes on one held socket. */
const backlog = 511;

/** Starts a server and answers with host:port, or throws `ERR_DATA_PLANE_LISTEN`. */
export function listen(server: Server, { host, port, descriptor }: ListenAddress, log: Log): Promise<string> {
  return new Promise((resolve, reject) => {
    server.on("error", (cause) => {
      // Also said when a connection cannot be accepted for want of descriptors; that must not end the process.
      log.warn("listener failed", { host, port, error: cause.message });
      reject(new MeshError("ERR_DATA_PLANE_LISTEN", `cannot listen on ${host}:${port}`, { cause }));
    });
    server.listen(descriptor === undefined ? { host, port } : { fd: descriptor, backlog }, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? `${host}:${address.port}` : "");
    });
  });
}
