import { type HeaderField, headerField } from "../http2/index.ts";
import type { ResponseHead } from "./forwarding.ts";
import { responseValues } from "./response-fields.ts";
import { isGrpcUnavailable, type UnavailableStatus, unavailableStatusOf } from "./unavailable.ts";

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
  return responseValues(head, exhaustedName).includes(exhaustedValue);
}

/**
 * As which status of HTTP a response says that nobody was able to give the right one, if it does: 502, 503, 504, or
 * UNAVAILABLE in a call of gRPC to which nothing else has been sent.
 */
export function unavailableStatus(head: ResponseHead): UnavailableStatus | undefined {
  const isUnavailableCall = !("section" in head) && isGrpcUnavailable(head.fields);
  return unavailableStatusOf(head.status) ?? (isUnavailableCall ? "503" : undefined);
}
