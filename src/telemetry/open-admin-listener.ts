import http from "node:http";
import type { Log } from "../base/log.ts";
import { MeshError } from "../base/mesh-error.ts";
import { makeRoom } from "./make-room.ts";

const loopbackHost = /^(127\.0\.0\.1|localhost)(:[0-9]+)?$/;
const loopbackAddresses: ReadonlySet<string> = new Set(["127.0.0.1", "localhost"]);
const connectionsMax = 64;
/** Of these, so many may be without a whole request; one more ends the oldest. */
const waitingConnectionsMax = 48;
/** How long a request may take to arrive. */
const requestMillisMax = 5_000;

/** One condition of being ready. */
export interface ReadinessCheck {
  /** A constant, in kebab case. */
  readonly name: string;
  /** What is missing, for people; undefined when nothing is. */
  readonly missing: () => string | undefined;
}

/** What a process shows of itself. */
export interface AdminOptions {
  /** A loopback address; port 0 takes any. */
  readonly listen: { readonly host: string; readonly port: number };
  readonly checks: readonly ReadinessCheck[];
  /** The page of `/metrics`, in the Prometheus text format. */
  readonly metrics: () => Promise<string>;
  /** JSON documents by path, made when asked for; never a secret. */
  readonly documents?: Readonly<Record<string, () => unknown>>;
  readonly log: Log;
}

/** A listening admin server. */
export interface AdminListener extends AsyncDisposable {
  /** host:port. */
  readonly address: string;
}

/**
 * Serves `/livez`, `/readyz`, `/metrics` and a process's own documents, on loopback and nowhere else. Throws
 * `ERR_TELEMETRY_LISTEN` where the address is not one of loopback or cannot be had.
 */
export async function openAdminListener(options: AdminOptions): Promise<AdminListener> {
  const { host } = options.listen;
  if (!loopbackAddresses.has(host))
    throw new MeshError(
      "ERR_TELEMETRY_LISTEN",
      `${host} is not loopback; the admin listener has no access control: use 127.0.0.1 and forward from there`,
    );
  const timeouts = { headersTimeout: requestMillisMax, requestTimeout: requestMillisMax };
  const server = http.createServer(timeouts, (request, response) => {
    void answerTo(request, options).then(({ status, body, type }) =>
      response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(body),
    );
  });
  server.maxConnections = connectionsMax;
  makeRoom(server, waitingConnectionsMax);
  const address = await listen(server, options);
  options.log.info("admin listener open", { address });
  return {
    address,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: http.Server, { listen: { host, port }, log }: AdminOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    server.on("error", (cause) => {
      log.warn("listener failed", { host, port, error: cause.message });
      reject(
        new MeshError("ERR_TELEMETRY_LISTEN", `cannot listen on ${host}:${port} for admin requests`, {
          cause,
        }),
      );
    });
    server.listen({ host, port }, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? `${host}:${address.port}` : "");
    });
  });
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly type: string;
}

async function answerTo(request: http.IncomingMessage, options: AdminOptions): Promise<Answer> {
  // A name of somebody's own may lead here, and a web page of theirs may read what its own name answers.
  if (!loopbackHost.test(request.headers.host ?? "")) return text(421, "ask for 127.0.0.1\n");
  if (request.method !== "GET") return text(405, "only GET\n");
  const [path = "", query = ""] = (request.url ?? "").split("?", 2);
  try {
    if (path === "/livez") return text(200, "ok\n");
    if (path === "/readyz") return readiness(options.checks, query === "verbose");
    if (path === "/metrics") return { ...text(200, await options.metrics()), type: prometheusText };
    const document = new Map(Object.entries(options.documents ?? {})).get(path);
    if (document !== undefined)
      return { status: 200, body: `${JSON.stringify(document(), undefined, 2)}\n`, type: "application/json" };
  } catch (error) {
    options.log.error("admin request failed", { path, error: String(error) });
    return text(500, "this process could not say; its log says why\n");
  }
  const known = ["/livez", "/readyz", "/readyz?verbose", "/metrics", ...Object.keys(options.documents ?? {})];
  return text(404, `there is: ${known.join(" ")}\n`);
}

const prometheusText = "text/plain; version=0.0.4; charset=utf-8";

function text(status: number, body: string): Answer {
  return { status, body, type: "text/plain; charset=utf-8" };
}

/** All checks by name where asked for or where one fails, in the style of Kubernetes. */
function readiness(checks: readonly ReadinessCheck[], isVerbose: boolean): Answer {
  const judged = checks.map(({ name, missing }) => ({ name, what: missing() }));
  const isReady = judged.every(({ what }) => what === undefined);
  if (isReady && !isVerbose) return text(200, "ok\n");
  const lines = judged.map(({ name, what }) =>
    what === undefined ? `[+] ${name} ok\n` : `[-] ${name}: ${what}\n`,
  );
  return text(isReady ? 200 : 503, `${lines.join("")}readyz check ${isReady ? "passed" : "failed"}\n`);
}
