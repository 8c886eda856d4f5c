import type { TokenRequest } from "../request-token/index.ts";
import type { RequestHead } from "./forwarding/index.ts";
import type { HeadEdits } from "./http1/index.ts";

/**
 * What a request token is bound to of a request, the same at both ends: the caller passes the edits with which it goes
 * on the wire, the callee reads what has come. Of a CONNECT nothing but its authority goes to the far end.
 */
export function tokenRequestOf(request: RequestHead, destination: string, edits?: HeadEdits): TokenRequest {
  const { method, tunnel } = request;
  if (tunnel === "connect")
    return { method, destination, path: edits?.host ?? request.host, contentDigest: "" };
  const digests = request.valuesOf("content-digest");
  const contentDigest = digests.length === 0 ? "" : digests.join(", ");
  return { method, destination, path: edits?.target ?? request.target, contentDigest };
}
