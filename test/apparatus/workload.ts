import http from "node:http";
import type { Sidecar } from "../../src/data-plane/index.ts";
import type { Journal } from "../../src/storage/index.ts";
import type { PlainApp } from "./plain-app.ts";
import type { ShiftedClock } from "./shifted-clock.ts";

/** What an application got for a request. */
export interface Reply {
  readonly status: number;
  readonly body: string;
  readonly headers: http.IncomingHttpHeaders;
  /** The reason in a problem answer; empty in others. */
  readonly reason: string;
}

/** A request of an application. */
export interface Call {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly body?: string;
  readonly agent?: http.Agent;
}

/** One instance of a service: an application, its sidecar, and what both have written down. */
export class Workload implements AsyncDisposable {
  readonly service: string;
  readonly instance: string;
  readonly sidecar: Sidecar;
  readonly app: PlainApp;
  readonly clock: ShiftedClock;
  isClosed = false;
  readonly #journal: Journal;

  constructor(parts: {
    service: string;
    instance: string;
    sidecar: Sidecar;
    app: PlainApp;
    journal: Journal;
    clock: ShiftedClock;
  }) {
    this.service = parts.service;
    this.instance = parts.instance;
    this.sidecar = parts.sidecar;
    this.app = parts.app;
    this.clock = parts.clock;
    this.#journal = parts.journal;
  }

  /** The host name by which others call it. */
  get host(): string {
    return `${this.service.slice(1).split("/").reverse().join(".")}.mesh`;
  }

  /** The application calls a service through its sidecar. */
  async call(host: string, call: Call = {}): Promise<Reply> {
    const { method = "GET", path = "/", headers = {}, body, agent } = call;
    const [address, port] = this.sidecar.outboundAddress.split(":");
    return ask(
      { host: address, port, method, path, headers: { ...headers, host }, agent: agent ?? false },
      body,
    );
  }

  /** What stands in its audit log on disk. */
  async audit(): Promise<Record<string, unknown>[]> {
    const records: Record<string, unknown>[] = [];
    for await (const entry of this.#journal.read(0, this.#journal.size))
      records.push(JSON.parse(Buffer.from(entry).toString()));
    return records;
  }

  /** The sum of a metric's values over all of its labels that include these. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const [address, port] = this.sidecar.adminAddress.split(":");
    const { body } = await ask({ host: address, port, path: "/metrics", agent: false });
    const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
    return body
      .split("\n")
      .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
      .filter((line) => wanted.every((label) => line.includes(label)))
      .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    await this.sidecar[Symbol.asyncDispose]();
    await this.app[Symbol.asyncDispose]();
  }
}

/** Sends one request and reads the whole answer. */
export function ask(options: http.RequestOptions, body = ""): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const request = http.request(options, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        const reason = /"reason":"([a-z-]+)"/.exec(text)?.[1] ?? "";
        resolve({ status: response.statusCode ?? 0, body: text, headers: response.headers, reason });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}
