import { appendFileSync } from "node:fs";
import http from "node:http";

// Answers with its name; or asks the service that it is in front of and answers with both names. It writes down which
// requests have reached it, at once, so that this is known after it was killed.
const name = process.env["STORM_NAME"] ?? "";
const arrivals = process.env["STORM_ARRIVALS"] ?? "";
const next = process.env["STORM_NEXT"] ?? "";
const outbound = new URL(process.env["TROTH_OUTBOUND_URL"] ?? "http://127.0.0.1");
const agent = new http.Agent({ keepAlive: true, maxSockets: 128 });

const server = http.createServer((request, response) => {
  const path = request.url ?? "/";
  appendFileSync(arrivals, `${path.slice("/?".length)} ${name} ${Date.now()}\n`);
  const answer = (status: number, text: string): void => {
    response.writeHead(status, { "content-type": "text/plain" }).end(text);
  };
  if (next === "") return answer(200, name);
  const { hostname, port } = outbound;
  const asked = http.get({ hostname, port, path, headers: { host: next }, agent }, (reply) => {
    let body = "";
    reply.setEncoding("utf8").on("data", (chunk: string) => {
      body += chunk;
    });
    reply.once("end", () => answer(reply.statusCode ?? 502, `${name} ${body}`));
    reply.once("error", (error) => answer(502, `${name}: ${error.message}`));
  });
  asked.once("error", (error) => answer(502, `${name}: ${error.message}`));
});
server.keepAliveTimeout = 120_000;
server.listen({ host: "127.0.0.1", port: Number(process.env["PORT"]) });
process.once("SIGTERM", () => {
  server.close();
  server.closeIdleConnections();
});
