import { headerField } from "../http2/index.ts";
import type { RequestHead, ResponseHead } from "./forwarding.ts";

/**
 * Whether a response opens the tunnel that its request asked for: 101 in HTTP/1.1 (RFC 9110, 15.2.2), anything
 * successful in HTTP/2 (RFC 9113, 8.5; RFC 8441, 4).
 */
export function opensTunnel({ tunnel }: RequestHead, head: ResponseHead): boolean {
  if (tunnel === undefined) return false;
  return "section" in head ? head.status === 101 : head.status >= 200 && head.status < 300;
}

/** The head of a response that opens a tunnel and says nothing else, for an upstream that speaks no HTTP. */
export const tunnelOpened: ResponseHead = {
  fields: [headerField(":status", "200")],
  status: 200,
  contentLength: undefined,
};
