import {
  type ForwardingFailure,
  type ResponseHead,
  saysUndelivered,
  unavailableStatus,
} from "../forwarding/index.ts";
import type { RetryCondition } from "./route-policy.ts";

/**
 * Which condition of a retry policy a failure is, if any. Where there was no room, for want of connections, to ask again
 * would make it worse.
 */
export function conditionOfFailure(failure: ForwardingFailure): RetryCondition | undefined {
  switch (failure) {
    case "upstream-connect-failed":
    case "upstream-connect-timeout":
      return "connect-failed";
    case "upstream-reset":
      return "reset";
    case "upstream-timeout":
      return "timeout";
    default:
      return undefined;
  }
}

/** Which condition a response is, if any. */
export function conditionOfResponse(head: ResponseHead): RetryCondition | undefined {
  const status = unavailableStatus(head);
  if (status === undefined) return undefined;
  return saysUndelivered(head) ? "connect-failed" : status;
}
