import { headerLines } from "../http1/index.ts";
import type { RequestHead } from "./forwarding.ts";

/** The header by which a proxy says that a request is a copy of one that went elsewhere (a boolean of RFC 9651). */
export const mirroredName = "troth-mirrored";

/** Its value for yes. */
export const mirroredValue = "?1";

/** Its line. */
export const mirroredLine: Uint8Array = headerLines([["Troth-Mirrored", mirroredValue]]);

/** Whether another proxy says so of a request. */
export function isMirrored(request: RequestHead): boolean {
  return "isMirrored" in request && request.isMirrored;
}
