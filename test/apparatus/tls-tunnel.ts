import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import type { Credentials } from "./hostile-certificates.ts";

/** A port of loopback behind which bytes go over mutual TLS, for clients that have no certificate of the mesh. */
export interface TlsTunnel extends AsyncDisposable {
  readonly port: number;
}

/** Opens one that speaks HTTP/2 with a mesh listener; each connection gets one of its own. */
export async function openTlsTunnel(address: string, credentials: Credentials): Promise<TlsTunnel> {
  const [host = "", port = ""] = address.split(":");
  const sockets = new Set<net.Socket>();
  const server = net.createServer((near) => {
    const far = tls.connect({
      host,
      port: Number(port),
      ...credentials,
      ALPNProtocols: ["h2"],
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.setNoDelay(true);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : 0,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}
