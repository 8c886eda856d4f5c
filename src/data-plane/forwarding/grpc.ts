import { type HeaderField, headerField } from "../http2/index.ts";
import type { RequestHead } from "./forwarding.ts";
import type { Answer } from "./problem-answer.ts";
import { undeliveredName, undeliveredValue } from "./undelivered.ts";

const grpcType = /^application\/grpc(?:$|[+;])/i;
/** What a message of a status may be long, in characters before it is encoded. */
const messageCharactersMax = 1024;

/** Whether a request is a call of gRPC, whose outcome stands in trailers. */
export function isGrpcRequest(request: RequestHead): boolean {
  if (request.method !== "POST") return false;
  const [type = ""] = request.valuesOf("content-type");
  return grpcType.test(type);
}

/** The status of a call that gets an answer of the proxy's own, as fields: a response of trailers only. */
export function grpcAnswer(answer: Answer): HeaderField[] {
  const told = (answer.proxyLines ?? []).map(([name, value]) => headerField(name, value));
  const fields = [okStatus, contentType, ...grpcTrailers(answer), ...told];
  return answer.isUndelivered === true ? [...fields, undelivered] : fields;
}

/** The trailers of a call that ends with a problem (gRPC over HTTP/2, "Responses"). */
export function grpcTrailers({ status, summary, isOverdue }: Answer): HeaderField[] {
  const code = isOverdue === true ? grpcStatus.deadlineExceeded : grpcStatusOf(status);
  const fields = [headerField("grpc-status", String(code))];
  const message = percentEncoded(summary.slice(0, messageCharactersMax));
  return message === "" ? fields : [...fields, headerField("grpc-message", message)];
}

/** What gRPC clients themselves make of a status of HTTP (grpc/doc/http-grpc-status-mapping.md), and of one's size. */
function grpcStatusOf(status: number): number {
  switch (status) {
    case 400:
      return grpcStatus.internal;
    case 401:
      return grpcStatus.unauthenticated;
    case 403:
      return grpcStatus.permissionDenied;
    case 404:
      return grpcStatus.unimplemented;
    case 413:
    case 431:
      return grpcStatus.resourceExhausted;
    case 429:
    case 502:
    case 503:
    case 504:
      return grpcStatus.unavailable;
    default:
      return grpcStatus.unknown;
  }
}

const grpcStatus = {
  unknown: 2,
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** Printable ASCII but `%` stays; the bytes of all other characters are spelt out. */
function percentEncoded(text: string): string {
  let encoded = "";
  for (const byte of Buffer.from(text, "utf8"))
    encoded +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  return encoded;
}

const okStatus = headerField(":status", "200");
const undelivered = headerField(undeliveredName, undeliveredValue);
const contentType = headerField("content-type", "application/grpc");
