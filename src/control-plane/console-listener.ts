import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { type ConnectRouter, createContextValues } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { codeOf, MeshError } from "../base/mesh-error.ts";
import { makeRoom } from "../telemetry/index.ts";
import { peerKey } from "../transport/index.ts";
import type { ControlPlaneParts } from "./calls/parts.ts";
import { judgeBrowserRequest } from "./console-gate.ts";
import { consolePage, sentencePage } from "./console-page.ts";
import type { LiveSession } from "./sessions.ts";

const host = "127.0.0.1";
const cookieName = "troth-session";
const cookieSecondsMax = 8 * 3600;
const connectionsMax = 64;
/** Of these, so many may be without a whole request; one more ends the oldest. */
const waitingConnectionsMax = 48;
const headersTimeoutMillis = 5_000;
const requestTimeoutMillis = 10_000;
const messageBytesMax = 64 * 1024;
/** A page can cause as many of the first as it likes; the second need a code or a cookie, and must not be pushed out. */
const alarmSources = { pages: "(pages)", sessions: "(sessions)" } as const;

const securityHeaders = {
  "content-security-policy":
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cache-control": "no-store",
} as const;

const gateStatus = {
  "foreign-host": 403,
  "foreign-origin": 403,
  "foreign-page": 403,
  "wrong-content-type": 415,
  "wrong-method": 405,
  "unknown-path": 404,
} as const;

/** The listener for web browsers of this machine. */
export interface ConsoleListener extends AsyncDisposable {
  /** host:port. */
  readonly address: string;
}

/**
 * Serves browsers on loopback: a one-time code becomes a session, and a session reads what its holder may read. No
 * call that changes anything is served here, since a session never signs.
 */
export async function openConsoleListener(
  parts: ControlPlaneParts,
  routes: (router: ConnectRouter) => void,
  wantedPort: number,
): Promise<ConsoleListener> {
  const sessions = new WeakMap<IncomingMessage, LiveSession>();
  const calls = connectNodeAdapter({
    routes,
    grpc: false,
    grpcWeb: false,
    readMaxBytes: messageBytesMax,
    acceptCompression: [],
    // A session has its holder's key for the calls, each of which looks it up in the log.
    contextValues: (request) =>
      createContextValues().set(
        peerKey,
        "httpVersionMajor" in request && !("stream" in request) ? sessions.get(request)?.key : undefined,
      ),
  });
  let port = 0;
  const server = http.createServer(
    { headersTimeout: headersTimeoutMillis, requestTimeout: requestTimeoutMillis },
    (request, response) => {
      for (const [name, value] of Object.entries(securityHeaders)) response.setHeader(name, value);
      const asked = judgeBrowserRequest(browserRequestOf(request), port);
      if (!asked.ok) {
        if (gateStatus[asked.reason] === 403)
          parts.registry.raise(alarmSources.pages, "browser-refused", `${asked.reason}: ${asked.detail}`);
        answer(response, gateStatus[asked.reason], asked.reason);
        return;
      }
      if (asked.value.kind === "code") {
        redeem(parts, asked.value.code, response);
        return;
      }
      const session = sessionOf(parts, request, response);
      if (session === undefined) return;
      const end = (): void => void response.destroy();
      session.ended.addEventListener("abort", end);
      response.once("close", () => session.ended.removeEventListener("abort", end));
      if (asked.value.kind === "page") showPage(parts, session, response);
      else {
        sessions.set(request, session);
        calls(request, response);
      }
    },
  );
  server.maxConnections = connectionsMax;
  makeRoom(server, waitingConnectionsMax);
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  port = await listen(server, wantedPort);
  parts.sessions.serveAt(`http://${host}:${port}`);
  return {
    address: `${host}:${port}`,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function browserRequestOf({
  method = "",
  url = "",
  headers,
}: IncomingMessage): Parameters<typeof judgeBrowserRequest>[0] {
  const fetchSite = headers["sec-fetch-site"];
  return {
    method,
    path: url,
    host: headers.host,
    origin: headers.origin,
    fetchSite: Array.isArray(fetchSite) ? fetchSite.join() : fetchSite,
    contentType: headers["content-type"],
  };
}

function redeem(parts: ControlPlaneParts, code: string, response: ServerResponse): void {
  const redeemed = parts.sessions.redeem(code);
  if (!redeemed.ok) {
    const { reason, detail } = redeemed;
    parts.registry.raise(
      alarmSources.sessions,
      "session-refused",
      `${reason}${detail === "" ? "" : `: ${detail}`}`,
    );
    const remedy = "This link opens no session; ask for another with: troth session open";
    answer(response, 403, reason, sentencePage(`${remedy} (${reason})`));
    return;
  }
  const cookie = `${cookieName}=${redeemed.value.cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${cookieSecondsMax}`;
  response.setHeader("set-cookie", cookie).setHeader("location", "/");
  response.writeHead(303).end();
}

/** The session of the request's cookie; without one the request has been answered. */
function sessionOf(
  parts: ControlPlaneParts,
  request: IncomingMessage,
  response: ServerResponse,
): LiveSession | undefined {
  const cookies = (request.headers.cookie ?? "").split("; ");
  const cookie = cookies.find((one) => one.startsWith(`${cookieName}=`))?.slice(cookieName.length + 1) ?? "";
  const checked = parts.sessions.check(cookie);
  if (checked.ok) return checked.value;
  const { reason, detail } = checked;
  if (reason === "key-removed")
    parts.registry.raise(alarmSources.sessions, "session-refused", `${reason}: ${detail}`);
  answer(response, 401, reason, sentencePage(`Not signed in (${reason}); sign in with: troth session open`));
  return undefined;
}

function showPage(parts: ControlPlaneParts, session: LiveSession, response: ServerResponse): void {
  const { issuer, registry, proposals } = parts;
  const { state, newest } = issuer.writer;
  const { name, role, endsAtSeconds } = session;
  const show = (waiting: number): void => {
    const page = consolePage({
      trustDomain: state.genesis?.trustDomain ?? "",
      name,
      role,
      endsAtSeconds,
      treeSize: newest?.size ?? 0,
      epoch: state.genesis?.epochNumber ?? 0,
      nodes: [...state.nodes.entries()].length,
      proxies: registry.statuses().length,
      proposals: waiting,
      alarms: registry.alarms().length,
    });
    answer(response, 200, "", page);
  };
  proposals.list().then(
    (waiting) => show(waiting.length),
    () => response.destroy(),
  );
}

/** A page where there is one, or the reason as JSON. */
function answer(response: ServerResponse, status: number, reason: string, page?: string): void {
  response.setHeader("content-type", page === undefined ? "application/json" : "text/html; charset=utf-8");
  // What a refused request still sends is not waited for.
  if (status >= 400) response.setHeader("connection", "close");
  response.writeHead(status).end(page ?? JSON.stringify({ reason }));
}

function listen(server: http.Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    // Stays on, so that an error after the start does not end the process.
    server.on("error", (cause) => {
      const why = codeOf(cause) === "EADDRINUSE" ? "it is in use by another process" : cause.message;
      reject(
        new MeshError("ERR_CONTROL_PLANE_CONSOLE", `cannot listen on ${host}:${port}: ${why}`, { cause }),
      );
    });
    server.listen({ host, port }, () => {
      const address: AddressInfo | string | null = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}
