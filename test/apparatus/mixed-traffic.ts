import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";

const posted = Buffer.alloc(32 * 1024, "p");
const largeBytes = 1024 * 1024;
/** Before a client that gives up does so. */
const patienceMillis = 20;
const answerMillisMax = 20_000;
const sessions = 3;

type Kind =
  | "get"
  | "post"
  | "new connection"
  | "left in a body"
  | "left before an answer"
  | "cut by the application"
  | "http2 get"
  | "http2 post"
  | "http2 left in a body"
  | "grpc"
  | "grpc left before an answer"
  | "grpc cut by the application";

/** Requests of every kind to the application of hard-app.ts, those that go wrong on purpose among them. */
export class MixedTraffic implements Disposable {
  /** Requests so far. */
  requests = 0;
  /** Requests that did not end as they should, by kind and what was seen. */
  readonly surprises: string[] = [];
  readonly #address: string;
  readonly #host: string;
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
  readonly #sessions: http2.ClientHttp2Session[] = [];
  readonly #kinds: readonly (readonly [Kind, () => Promise<string>, expected: RegExp])[];

  constructor(address: string, host: string) {
    this.#address = address;
    this.#host = host;
    const whole = /^200 1024 end$/;
    const counted = new RegExp(`^200 ${String(posted.length).length} end$`);
    const anyEnd = /./;
    this.#kinds = [
      ["get", () => this.#http1("/ok"), whole],
      ["post", () => this.#http1("/count", { body: posted }), counted],
      ["new connection", () => this.#http1("/ok", { isNew: true }), whole],
      ["left in a body", () => this.#http1(`/${largeBytes}`, { leavesInBody: true }), anyEnd],
      ["left before an answer", () => this.#http1("/never", { leaves: true }), anyEnd],
      ["cut by the application", () => this.#http1("/reset-mid-body"), /^502|ECONNRESET|aborted/],
      ["http2 get", () => this.#http2("/65536"), /^200 65536 0 $/],
      ["http2 post", () => this.#http2("/count", { body: posted }), /^200 5 0 $/],
      ["http2 left in a body", () => this.#http2(`/${largeBytes}`, { leavesInBody: true }), anyEnd],
      ["grpc", () => this.#http2("/a.B/ok", { isGrpc: true }), /^200 5 0 0$/],
      ["grpc left before an answer", () => this.#http2("/a.B/never", { isGrpc: true, leaves: true }), anyEnd],
      ["grpc cut by the application", () => this.#http2("/a.B/close-mid-body", { isGrpc: true }), / 14$/],
    ];
  }

  /** Makes so many requests of all kinds, so many at a time, and no faster than `perSecond`. */
  async run(count: number, parallel: number, perSecond: number = Number.POSITIVE_INFINITY): Promise<void> {
    const started = performance.now();
    let begun = 0;
    const work = async (): Promise<void> => {
      while (begun < count) {
        const place = begun;
        begun += 1;
        const waitMillis = started + (1000 * place) / perSecond - performance.now();
        if (waitMillis > 0) await new Promise((resolve) => setTimeout(resolve, waitMillis));
        await this.#one(place);
      }
    };
    await Promise.all(Array.from({ length: parallel }, work));
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
    for (const session of this.#sessions) session.destroy();
  }

  async #one(place: number): Promise<void> {
    const [kind, ask, expected] = this.#kinds[place % this.#kinds.length] ?? [];
    if (kind === undefined || ask === undefined || expected === undefined) return;
    this.requests += 1;
    const seen = await ask();
    if (!expected.test(seen) && this.surprises.length < 100) this.surprises.push(`${kind}: ${seen}`);
  }

  #http1(
    path: string,
    how: { body?: Buffer; isNew?: boolean; leavesInBody?: boolean; leaves?: boolean } = {},
  ): Promise<string> {
    const [host = "", port = ""] = this.#address.split(":");
    return new Promise((resolve) => {
      const request = http.request({
        host,
        port,
        path,
        method: how.body === undefined ? "GET" : "POST",
        headers: { host: this.#host },
        agent: how.isNew === true ? false : this.#agent,
        timeout: answerMillisMax,
      });
      request.on("error", (error) => resolve("code" in error ? String(error.code) : error.message));
      request.on("timeout", () => resolve("timeout"));
      request.on("response", (response) => {
        let bytes = 0;
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (how.leavesInBody === true) request.destroy();
        });
        response.on("error", () => resolve("aborted"));
        response.on("end", () => resolve(`${response.statusCode} ${bytes} end`));
        response.on("close", () => resolve("aborted"));
      });
      request.on("close", () => resolve("closed"));
      request.end(how.body);
      if (how.leaves === true) setTimeout(() => request.destroy(), patienceMillis);
    });
  }

  async #http2(
    path: string,
    how: { body?: Buffer; isGrpc?: boolean; leavesInBody?: boolean; leaves?: boolean } = {},
  ): Promise<string> {
    const isPost = how.body !== undefined || how.isGrpc === true;
    const stream = this.#session(this.requests).request({
      ":method": isPost ? "POST" : "GET",
      ":path": path,
      ":authority": this.#host,
      ...(how.isGrpc === true ? { "content-type": "application/grpc", te: "trailers" } : {}),
    });
    let status = 0;
    let bytes = 0;
    let outcome = "";
    stream.setTimeout(answerMillisMax, () => stream.close(http2.constants.NGHTTP2_CANCEL));
    stream.on("error", () => {});
    stream.on("response", (headers) => {
      status = Number(headers[":status"]);
      outcome = String(headers["grpc-status"] ?? "");
    });
    stream.on("trailers", (headers) => {
      outcome = String(headers["grpc-status"] ?? "");
    });
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (how.leavesInBody === true) stream.close(http2.constants.NGHTTP2_CANCEL);
    });
    stream.end(how.isGrpc === true ? Buffer.alloc(5) : how.body);
    if (how.leaves === true) setTimeout(() => stream.close(http2.constants.NGHTTP2_CANCEL), patienceMillis);
    await once(stream, "close").catch(() => {});
    return `${status} ${bytes} ${stream.rstCode} ${outcome}`;
  }

  #session(place: number): http2.ClientHttp2Session {
    const at = place % sessions;
    const known = this.#sessions[at];
    if (known !== undefined && !known.destroyed && !known.closed) return known;
    const session = http2.connect(`http://${this.#address}`);
    session.on("error", () => {});
    session.setMaxListeners(0);
    this.#sessions[at] = session;
    return session;
  }
}
