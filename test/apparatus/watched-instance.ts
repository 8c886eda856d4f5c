import http from "node:http";
import { performance } from "node:perf_hooks";
import type { MeshInProcess } from "./mesh-in-process.ts";
import { openPlainApp } from "./plain-app.ts";
import type { Workload } from "./workload.ts";

/** An instance whose application can be told how to do, and that says when it was called last. */
export interface WatchedInstance {
  readonly workload: Workload;
  /** `fine`; `failing` answers its callers with 500; `unwell` does the work and fails its health check. */
  mood: "fine" | "failing" | "unwell";
  /** When a caller's request reached it last, by `performance.now()`. */
  readonly calledMillis: () => number;
}

/** Opens an instance of a service with a health check of the path /healthz, every 500 ms. */
export async function openWatchedInstance(mesh: MeshInProcess, service: string): Promise<WatchedInstance> {
  let calledMillis = 0;
  const told: Pick<WatchedInstance, "mood"> = { mood: "fine" };
  const app = await openPlainApp({
    answer: ({ url }, response) => {
      const isCheck = url === "/healthz";
      if (!isCheck) calledMillis = performance.now();
      const fails = told.mood === (isCheck ? "unwell" : "failing");
      response.writeHead(fails ? 500 : 200).end("done");
    },
  });
  const health = {
    path: "/healthz",
    intervalMillis: 500,
    timeoutMillis: 500,
    failuresMax: 2,
    successesMin: 2,
  };
  const workload = await mesh.open(service, { app, health });
  return Object.assign(told, { workload, calledMillis: () => calledMillis });
}

/** Calls a service again and again, some milliseconds apart, until it is disposed of; counts what was answered. */
export function keepCalling(
  caller: Workload,
  host: string,
  everyMillis: number,
): Disposable & { readonly statuses: Map<number, number> } {
  const statuses = new Map<number, number>();
  const agent = new http.Agent({ keepAlive: true });
  const ending = new AbortController();
  const timer = setInterval(() => {
    void caller
      .call(host, { agent })
      .then(({ status }) => status)
      .catch(() => 0)
      .then((status) => statuses.set(status, (statuses.get(status) ?? 0) + 1));
  }, everyMillis);
  ending.signal.addEventListener("abort", () => {
    clearInterval(timer);
    agent.destroy();
  });
  return { statuses, [Symbol.dispose]: () => ending.abort() };
}

/** A request whose body never ends; resolves to when it was over, by `performance.now()`. */
export function holdRequest(caller: Workload, host: string): Promise<number> {
  const [address, port] = caller.sidecar.outboundAddress.split(":");
  return new Promise((resolve) => {
    const request = http.request({ host: address, port, method: "POST", headers: { host }, agent: false });
    request.on("response", (response) => response.resume());
    request.on("error", () => {});
    request.on("close", () => resolve(performance.now()));
    request.write("half of it");
  });
}
