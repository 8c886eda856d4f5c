import { type HeaderField, headerField } from "../http2/index.ts";
import type { ResponseHead } from "./forwarding.ts";

const exhaustedName = "troth-retries";
const exhaustedValue = "exhausted";

/**
 * By this field the proxy in front of an application tells the proxy that asked it that the application's own calls
 * failed after as many attempts as they may have; to ask it again would multiply them. No application can say it or is
 * told.
 */
export const exhaustedField: HeaderField = headerField(exhaustedName, exhaustedValue);

/** Whether a response says so. */
export function saysExhausted(head: ResponseHead): boolean {
  if ("section" in head) return head.section.valuesOf(exhaustedName).includes(exhaustedValue);
  return head.fields.some(({ name, value }) => name === exhaustedName && value === exhaustedValue);
}

/**
 * As which status of HTTP a response says that nobody was able to give the right one, if it does: 502, 503, 504, or
 * UNAVAILABLE in a call of gRPC to which nothing else has been sent.
 */
export function unavailableStatus(head: ResponseHead): "502" | "503" | "504" | undefined {
  switch (head.status) {
    case 502:
      return "502";
    case 503:
      return "503";
    case 504:
      return "504";
    default:
      return !("section" in head) && isGrpcUnavailable(head.fields) ? "503" : undefined;
  }
}

function isGrpcUnavailable(fields: readonly HeaderField[]): boolean {
  return fields.some(({ name, value }) => name === "grpc-status" && value === grpcUnavailable);
}

const grpcUnavailable = "14";
