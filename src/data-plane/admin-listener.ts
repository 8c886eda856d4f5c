import http from "node:http";
import type { Registry } from "prom-client";
import type { Log } from "../base/log.ts";
import { listen } from "./listen.ts";

const loopbackHost = /^(127\.0\.0\.1|localhost)(:[0-9]+)?$/;

/** Serves `/livez`, `/readyz` and `/metrics` on loopback. */
export async function openAdminListener(options: {
  readonly registry: Registry;
  /** Empty when ready, otherwise what is missing. */
  readonly missing: () => readonly string[];
  readonly log: Log;
}): Promise<{ readonly address: string } & AsyncDisposable> {
  const server = http.createServer((request, response) => {
    const answer = (status: number, body: string, type = "text/plain; charset=utf-8"): void => {
      response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(body);
    };
    // A name of somebody's own may lead here, and a web page of theirs may read what its own name answers.
    if (!loopbackHost.test(request.headers.host ?? "")) return answer(421, "ask for 127.0.0.1\n");
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
  const address = await listen(server, { host: "127.0.0.1", port: 0 }, options.log);
  return {
    address,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
