import { fail, ok, type Result } from "../base/result.ts";

/** What a request of a web browser says of itself. */
export interface BrowserRequest {
  readonly method: string;
  readonly path: string;
  readonly host: string | undefined;
  readonly origin: string | undefined;
  readonly fetchSite: string | undefined;
  readonly contentType: string | undefined;
}

/** Why a request gets nothing, whoever sent it. */
export type GateRefusal =
  | "foreign-host"
  | "foreign-origin"
  | "foreign-page"
  | "wrong-content-type"
  | "wrong-method"
  | "unknown-path";

/** What a request that may be looked at asks for. */
export type Asked =
  | { readonly kind: "page" }
  | { readonly kind: "code"; readonly code: string }
  | { readonly kind: "call" };

const codePath = /^\/session\/([A-Za-z0-9_-]{43})$/;
const callPath = /^\/troth\.v1\.Admin\/(GetStatus|ReadLog|ListProposals|WatchProgress)$/;
/** None of these can be sent across origins without a preflight, which nobody here answers. */
const callTypes: ReadonlySet<string> = new Set([
  "application/json",
  "application/proto",
  "application/connect+json",
  "application/connect+proto",
]);
/** The user's own act, or a page of ours. */
const ownSites: ReadonlySet<string> = new Set(["none", "same-origin"]);

/**
 * Lets through what a page of this very listener, or the user's own address bar, would send, and nothing that a page
 * from elsewhere can make a browser send: not under a name that was bound again to this machine (`Host`), not across
 * origins (`Origin`, `Sec-Fetch-Site`), not as a form (content type).
 */
export function judgeBrowserRequest(request: BrowserRequest, port: number): Result<Asked, GateRefusal> {
  const { method, path, host = "", origin, fetchSite } = request;
  if (host !== `127.0.0.1:${port}` && host !== `localhost:${port}`) return fail("foreign-host", host);
  if (origin !== undefined && origin !== `http://${host}`) return fail("foreign-origin", origin);
  if (fetchSite !== undefined && !ownSites.has(fetchSite)) return fail("foreign-page", fetchSite);
  const code = codePath.exec(path)?.[1];
  if (path === "/" || code !== undefined) {
    if (method !== "GET") return fail("wrong-method", method);
    return ok(code === undefined ? { kind: "page" } : { kind: "code", code });
  }
  if (!callPath.test(path)) return fail("unknown-path");
  if (method !== "POST") return fail("wrong-method", method);
  if (origin === undefined) return fail("foreign-origin", "none");
  const contentType = request.contentType?.split(";")[0]?.trim().toLowerCase() ?? "";
  return callTypes.has(contentType) ? ok({ kind: "call" }) : fail("wrong-content-type", contentType);
}
