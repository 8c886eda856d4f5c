import { headerLines } from "../http1/index.ts";
import type { ResponseHead } from "./forwarding.ts";
import { responseValues } from "./response-fields.ts";

/**
 * The header by which the proxy in front of an application tells the proxy that asked it that the application has not
 * been given the request, or one that may be given to two (isRepeatable) and got no answer. No application can say it: every proxy drops such lines from what it passes on.
 */
export const undeliveredName = "troth-delivery";

/** Its only value. */
export const undeliveredValue = "none";

/** Whether a response says so. */
export function saysUndelivered(head: ResponseHead): boolean {
  return responseValues(head, undeliveredName).includes(undeliveredValue);
}

/** Its line. */
export const undeliveredLine: Uint8Array = headerLines([["Troth-Delivery", undeliveredValue]]);
