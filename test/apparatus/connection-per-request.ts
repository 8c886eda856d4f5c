import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const answerMillisMax = 20_000;

/** What became of one request on a connection of its own; times of the process's monotonic clock. */
export interface LoneRequest {
  readonly startedMillis: number;
  /** Undefined where the connection was refused. */
  readonly connectedMillis: number | undefined;
  readonly endedMillis: number;
  /** The status line's number, or what went wrong. */
  readonly outcome: string;
}

/** Sends requests at a fixed rate, each on a connection of its own, as an application without a pool does. */
export async function connectionPerRequest(load: {
  readonly address: string;
  readonly host: string;
  readonly requestsPerSecond: number;
  readonly isOver: () => boolean;
  readonly method?: string;
}): Promise<LoneRequest[]> {
  const started = performance.now();
  const asked: Promise<LoneRequest>[] = [];
  while (!load.isOver()) {
    const due = Math.floor(((performance.now() - started) / 1000) * load.requestsPerSecond);
    while (asked.length < due) asked.push(loneRequest(load.address, load.host, load.method ?? "GET"));
    await sleep(2);
  }
  return Promise.all(asked);
}

/** One request on a connection of its own; never throws. */
export function loneRequest(address: string, host: string, method = "GET"): Promise<LoneRequest> {
  const [hostname = "", port = ""] = address.split(":");
  const startedMillis = performance.now();
  let connectedMillis: number | undefined;
  let answer = "";
  let error = "closed without an answer";
  return new Promise((resolve) => {
    const socket = net.connect({ host: hostname, port: Number(port) }, () => {
      connectedMillis = performance.now();
    });
    socket.write(`${method} / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
    const timer = setTimeout(() => socket.destroy(new Error("no answer in time")), answerMillisMax);
    socket.on("data", (chunk) => {
      answer += chunk.toString("latin1");
    });
    socket.on("error", (thrown) => {
      error = thrown.message;
    });
    socket.on("close", () => {
      clearTimeout(timer);
      const outcome = /^HTTP\/1\.1 ([0-9]{3}) /.exec(answer)?.[1] ?? error;
      resolve({ startedMillis, connectedMillis, endedMillis: performance.now(), outcome });
    });
  });
}
