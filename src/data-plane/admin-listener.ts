import http from "node:http";
import type { Registry } from "prom-client";
import { MeshError } from "../base/mesh-error.ts";

/** Serves `/livez`, `/readyz` and `/metrics` on loopback. */
export async function openAdminListener(options: {
  readonly registry: Registry;
  /** Empty when ready, otherwise what is missing. */
  readonly missing: () => readonly string[];
}): Promise<{ readonly address: string } & AsyncDisposable> {
  const server = http.createServer((request, response) => {
    const answer = (status: number, body: string, type = "text/plain; charset=utf-8"): void => {
      response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(body);
    };
    if (request.method !== "GET") return answer(405, "only GET\n");
    if (request.url === "/livez") return answer(200, "ok\n");
    if (request.url === "/readyz") {
      const missing = options.missing();
      return missing.length === 0
        ? answer(200, "ok\n")
        : answer(503, missing.map((what) => `waiting for ${what}\n`).join(""));
    }
    if (request.url !== "/metrics") return answer(404, "try /livez, /readyz or /metrics\n");
    options.registry.metrics().then(
      (text) => answer(200, text, options.registry.contentType),
      () => answer(500, "no metrics\n"),
    );
    return undefined;
  });
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) =>
      reject(new MeshError("ERR_DATA_PLANE_LISTEN", "no port for the admin listener", { cause })),
    );
    server.listen({ host: "127.0.0.1", port: 0 }, () => resolve());
  });
  const address = server.address();
  return {
    address: typeof address === "object" && address !== null ? `127.0.0.1:${address.port}` : "",
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
