import type { BodyRefusal, RequestRefusal } from "../http1/index.ts";
import type { Http2Violation } from "../http2/index.ts";
import type { AcquireRefusal } from "./connection-source.ts";

/** Why a request did not get the response it asked for. */
export type RequestFailure =
  | RequestRefusal
  | BodyRefusal
  | AcquireRefusal
  | "tunnel-unsupported"
  | "tunnel-idle"
  | "tunnel-drained"
  | "no-longer-allowed"
  | "too-many-tcp-connections"
  | "head-timeout"
  | "body-timeout"
  | "decision-failed"
  | "decision-timeout"
  | "upstream-reset"
  | "upstream-timeout"
  | "overloaded"
  | "upstream-malformed-response"
  | "head-too-large-for-upstream"
  | "head-too-large-for-client"
  | "request-timeout"
  | "fault-injected"
  | "request-token-unavailable"
  | "client-gone";

/** The status that goes with a failure beyond the head; 400 for the bytes of a body (RFC 9110, 15.5 and 15.6). */
export function statusOfFailure(failure: Exclude<RequestFailure, RequestRefusal>): number {
  switch (failure) {
    case "head-timeout":
    case "body-timeout":
      return 408;
    case "no-longer-allowed":
      return 403;
    case "body-too-large":
      return 413;
    case "trailers-too-large":
    case "head-too-large-for-upstream":
      return 431;
    case "decision-failed":
      return 500;
    case "upstream-connect-failed":
    case "upstream-reset":
    case "upstream-malformed-response":
    case "head-too-large-for-client":
    case "tunnel-unsupported":
      return 502;
    case "decision-timeout":
    case "overloaded":
    case "request-token-unavailable":
    case "fault-injected":
    case "too-many-tcp-connections":
    case "tunnel-drained":
    case "upstream-pool-exhausted":
    case "upstream-pool-timeout":
      return 503;
    case "upstream-connect-timeout":
    case "upstream-timeout":
    case "tunnel-idle":
    case "request-timeout":
      return 504;
    case "chunk-size-invalid":
    case "chunk-size-too-long":
    case "chunk-extension":
    case "chunk-line-end":
    case "trailer-malformed":
    case "trailer-forbidden":
    case "client-gone":
      return 400;
  }
}

/** What the end of a stream is for its request: nobody was at the connection's other end any more, or it was reset. */
export function failureOfReset(violation: Http2Violation | undefined): "upstream-timeout" | "upstream-reset" {
  return violation !== undefined && silences.has(violation) ? "upstream-timeout" : "upstream-reset";
}

const silences: ReadonlySet<Http2Violation> = new Set<Http2Violation>([
  "ping-timeout",
  "settings-timeout",
  "transport-stalled",
]);

/** Whether a failure is to be blamed on the instance, as far as can be said; one to connect is counted elsewhere. */
export function speaksAgainstInstance(failure: RequestFailure): boolean {
  return againstInstance.has(failure);
}

const againstInstance: ReadonlySet<RequestFailure> = new Set<RequestFailure>([
  "upstream-reset",
  "upstream-timeout",
  "upstream-malformed-response",
]);
