import http, { type IncomingMessage, type ServerResponse } from "node:http";
import { messageOf } from "../base/mesh-error.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { readBody } from "./read-body.ts";
import { errorReply, type Reply } from "./reply.ts";
import type { TraceHeaders } from "./service-caller.ts";
import { writeErrorLine } from "./write-error-line.ts";

/** What a route is given to answer. */
export interface ServedRequest {
  readonly query: URLSearchParams;
  /** The parsed body of a POST, undefined otherwise. */
  readonly body: unknown;
  readonly trace: TraceHeaders;
}

/** Method and path, as in `POST /orders`, and what answers there. */
export type Routes = Readonly<Record<string, (request: ServedRequest) => Reply | Promise<Reply>>>;

/** A listening server. */
export interface JsonServer {
  readonly port: number;
  /** Accepts nothing new, waits for the requests under way for as long as `graceMillis`, then cuts them off. */
  readonly close: (graceMillis: number) => Promise<void>;
}

const requestBodyBytesMax = 64 * 1024;
const connectionsMax = 1_000;
const requestMillis = 5_000;
// More than the 50 s for which the sidecar keeps an idle connection, so that no request meets a closing one.
const keepAliveIdleMillis = 65_000;

/** Listens on 127.0.0.1 and answers by route; rejects if the port cannot be had. */
export async function openJsonServer(options: {
  readonly service: string;
  readonly port: number;
  readonly routes: Routes;
}): Promise<JsonServer> {
  const { service, port, routes } = options;
  const byName = new Map(Object.entries(routes));
  const server = http.createServer(
    {
      requestTimeout: requestMillis,
      headersTimeout: requestMillis,
      connectionsCheckingInterval: 1_000,
      keepAliveTimeout: keepAliveIdleMillis,
    },
    (request, response) => {
      void replyTo(request, byName)
        .catch((error: unknown) => {
          writeErrorLine(service, "request failed", { error: messageOf(error) });
          return errorReply(500, "internal", "this service made a mistake");
        })
        .then((reply) => send(response, reply, !server.listening));
    },
  );
  server.maxConnections = connectionsMax;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: "127.0.0.1", port }, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    close: async (graceMillis) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const cut = setTimeout(() => server.closeAllConnections(), graceMillis);
      await closed;
      clearTimeout(cut);
    },
  };
}

async function replyTo(
  request: IncomingMessage,
  routes: ReadonlyMap<string, Routes[string]>,
): Promise<Reply> {
  const { method = "", url = "" } = request;
  const [path = "", query = ""] = url.split("?", 2);
  const route = routes.get(`${method === "HEAD" ? "GET" : method} ${path}`);
  if (route === undefined) {
    const isOtherMethod = [...routes.keys()].some((name) => name.endsWith(` ${path}`));
    return isOtherMethod
      ? errorReply(405, "method-not-allowed", `not ${method} ${path}`)
      : errorReply(404, "not-found", `nothing at ${path}`);
  }
  const body = method === "POST" ? await readJson(request) : ok(undefined);
  if (!body.ok) return errorReply(body.reason === "body-too-large" ? 413 : 400, body.reason, body.detail);
  return route({ query: new URLSearchParams(query), body: body.value, trace: traceOf(request) });
}

async function readJson(request: IncomingMessage): Promise<Result<unknown, string>> {
  const read = await readBody(request, requestBodyBytesMax);
  if (!read.ok) return read;
  try {
    return ok(JSON.parse(read.value));
  } catch {
    return fail("body-not-json");
  }
}

function traceOf({ headers: { traceparent, tracestate } }: IncomingMessage): TraceHeaders {
  return {
    ...(typeof traceparent === "string" ? { traceparent } : {}),
    ...(typeof tracestate === "string" ? { tracestate } : {}),
  };
}

function send(response: ServerResponse, { status, contentType, body }: Reply, isLast: boolean): void {
  response.writeHead(status, {
    "Content-Type": contentType,
    "Content-Length": Buffer.byteLength(body),
    "Cache-Control": "no-store",
    ...(isLast ? { Connection: "close" } : {}),
  });
  response.end(body);
}
