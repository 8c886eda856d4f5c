import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import { fileURLToPath } from "node:url";
import { demoServices } from "./shop.ts";

/** A demo service that runs as its own process. */
export interface RunningService extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly child: ChildProcess;
  /** All that it has written to standard output and standard error so far. */
  readonly output: () => string;
}

/** A stand-in for all the sidecars: sends requests on by their Host, and keeps what it saw. */
export interface TestRouter extends AsyncDisposable {
  readonly url: string;
  /** Host name to port. */
  readonly routes: Map<string, number>;
  readonly seen: { readonly host: string; readonly line: string; readonly traceparent: string }[];
  /** Answers instead of sending on, if it is set. */
  answer: http.RequestListener | undefined;
}

/** Starts a script of this folder as the mesh would and waits until it listens. */
export async function startService(
  name: string,
  router: TestRouter,
  environment: Readonly<Record<string, string>> = {},
): Promise<RunningService> {
  const child = forkService(name, [], {
    PORT: "0",
    TROTH_OUTBOUND_URL: router.url,
    TROTH_SERVICE: name,
    ...environment,
  });
  let output = "";
  child.stdout?.on("data", (chunk) => (output += String(chunk)));
  child.stderr?.on("data", (chunk) => (output += String(chunk)));
  const port = await new Promise<number>((resolve, reject) => {
    child.once("message", (message) => {
      if (typeof message === "object" && "port" in message && typeof message.port === "number")
        resolve(message.port);
    });
    child.once("exit", () => reject(new Error(`${name} did not start: ${output}`)));
  });
  router.routes.set(hostOf(name), port);
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    child,
    output: () => output,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    },
  };
}

/** Starts the process behind a service's name with an IPC channel and just this environment. */
export function forkService(
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  execArgv: readonly string[] = [],
): ChildProcess {
  const script = demoServices.find((service) => service.name === name)?.script ?? "";
  const path = fileURLToPath(new URL(script, import.meta.url));
  return fork(path, args, { env, execArgv: [...execArgv], stdio: ["ignore", "pipe", "pipe", "ipc"] });
}

/** Opens a router on a free port of 127.0.0.1. */
export async function openTestRouter(): Promise<TestRouter> {
  const routes = new Map<string, number>();
  const seen: { host: string; line: string; traceparent: string }[] = [];
  const agent = new http.Agent({ keepAlive: true });
  const server = http.createServer((request, response) => {
    const { method, url, headers } = request;
    const host = headers.host ?? "";
    seen.push({ host, line: `${method} ${url}`, traceparent: String(headers["traceparent"]) });
    if (router.answer !== undefined) {
      router.answer(request, response);
      return;
    }
    const port = routes.get(host);
    if (port === undefined) {
      refuse(response, 404, "unknown-service");
      return;
    }
    const forwarded = http.request({ agent, host: "127.0.0.1", port, method, path: url, headers });
    forwarded.on("response", (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    forwarded.on("error", () => refuse(response, 502, "upstream-connect-failed"));
    request.pipe(forwarded);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const router: TestRouter = {
    url: `http://127.0.0.1:${port}`,
    routes,
    seen,
    answer: undefined,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server.close(), "close");
      server.closeAllConnections();
      agent.destroy();
      await closed;
    },
  };
  return router;
}

/** Answers as the mesh refuses (RFC 9457). */
export function refuse(response: http.ServerResponse, status: number, reason: string): void {
  response.writeHead(status, { "Content-Type": "application/problem+json" });
  response.end(
    JSON.stringify({ type: `urn:troth:problem:${reason}`, status, reason, detail: "as the mesh says" }),
  );
}

/** The answer to a request, its JSON parsed. */
export async function ask(
  url: string,
  init?: RequestInit,
): Promise<{ status: number; type: string; body: unknown }> {
  const response = await fetch(url, init);
  const text = await response.text();
  const type = response.headers.get("content-type") ?? "";
  return { status: response.status, type, body: type.includes("json") ? JSON.parse(text) : text };
}

function hostOf(name: string): string {
  return `${name.replace("/shop/", "")}.shop.mesh`;
}
