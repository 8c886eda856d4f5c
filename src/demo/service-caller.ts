import http, { type IncomingMessage } from "node:http";
import { messageOf } from "../base/mesh-error.ts";
import { readBody } from "./read-body.ts";
import { errorReply, isJson, type Reply } from "./reply.ts";

/** The trace of the request that is being served, to be sent along with the calls made for it (W3C Trace Context). */
export type TraceHeaders = Readonly<Partial<Record<"traceparent" | "tracestate", string>>>;

/** One request to another service. */
export interface ServiceCall {
  /** Its name in the mesh: `/shop/payments`. */
  readonly service: string;
  readonly method: "GET" | "POST";
  /** Path and query. */
  readonly path: string;
  /** Sent as JSON, unless undefined. */
  readonly body?: unknown;
  readonly trace: TraceHeaders;
  /** From the call to the last byte of its answer. A service is given less than its caller has, so that the reason
   * of a failure still travels back. */
  readonly timeoutMillis: number;
}

const answerBytesMax = 256 * 1024;
const connectionsMax = 64;
// Less than the minute after which the sidecar closes an idle connection, so that no request meets a closing one.
const idleMillis = 30_000;

/** Calls other services by way of the local outbound proxy, in plain HTTP with the service's name as `Host`. */
export class ServiceCaller implements Disposable {
  readonly #outbound: URL;
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: connectionsMax, timeout: idleMillis });

  /** Throws a RangeError unless the URL is one of plain HTTP. */
  constructor(outboundUrl: string) {
    const url = URL.parse(outboundUrl);
    if (url?.protocol !== "http:")
      throw new RangeError(`TROTH_OUTBOUND_URL is no http:// URL: ${outboundUrl}`);
    this.#outbound = url;
  }

  /**
   * Resolves to the answer of the service or of the mesh, and never rejects: where no usable answer comes in time, it
   * is a JSON error with status 502 or 504.
   */
  call(call: ServiceCall): Promise<Reply> {
    const signal = AbortSignal.timeout(call.timeoutMillis);
    const noAnswer = (why: string): Reply =>
      signal.aborted
        ? errorReply(504, "timed-out", `${call.service} did not answer within ${call.timeoutMillis} ms`)
        : errorReply(502, "unreachable", `${call.service} gave no answer: ${why}`);
    return new Promise((resolve) => {
      const body = call.body === undefined ? undefined : JSON.stringify(call.body);
      const request = http.request({
        agent: this.#agent,
        host: this.#outbound.hostname,
        port: this.#outbound.port,
        method: call.method,
        path: call.path,
        headers: headersOf(call, body),
        signal,
      });
      request.on("error", (error) => resolve(noAnswer(messageOf(error))));
      request.on("response", (response) => {
        void readBody(response, answerBytesMax).then((read) => {
          if (!read.ok) request.destroy();
          resolve(read.ok ? replyOf(call.service, response, read.value) : noAnswer(read.reason));
        });
      });
      request.end(body);
    });
  }

  /** Closes all connections; calls under way are answered with an error. */
  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}

function headersOf({ service, trace }: ServiceCall, body: string | undefined): Record<string, string> {
  return {
    Host: authorityOf(service),
    Accept: "application/json",
    ...trace,
    ...(body === undefined
      ? {}
      : { "Content-Type": "application/json", "Content-Length": String(Buffer.byteLength(body)) }),
  };
}

/** `/shop/payments` is called as `payments.shop.mesh`. */
function authorityOf(service: string): string {
  return [...service.slice(1).split("/").reverse(), "mesh"].join(".");
}

function replyOf(service: string, response: IncomingMessage, body: string): Reply {
  const { statusCode = 0, headers } = response;
  const reply = { status: statusCode, contentType: headers["content-type"] ?? "", body };
  if (statusCode < 300 || isJson(reply)) return reply;
  return errorReply(502, "unexpected-answer", `${service} answered ${statusCode} without JSON`);
}
