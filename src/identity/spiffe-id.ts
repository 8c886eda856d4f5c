import { fail, ok, type Result } from "../base/result.ts";

declare const spiffeId: unique symbol;
declare const trustDomain: unique symbol;

/** A checked SPIFFE ID, e.g. `spiffe://shop.example/shop/payments`; equal IDs are equal strings. */
export type SpiffeId = string & { readonly [spiffeId]: true };

/** The checked bare name of a trust domain, e.g. `shop.example`. */
export type TrustDomain = string & { readonly [trustDomain]: true };

/** Why a text is not the name of a trust domain (SPIFFE-ID section 2.1). */
export type TrustDomainRefusal =
  | "trust-domain-missing"
  | "trust-domain-too-long"
  | "bad-trust-domain-character";

/** Why a text is not the path of a SPIFFE ID (SPIFFE-ID section 2.2). */
export type SpiffePathRefusal = "empty-segment" | "dot-segment" | "trailing-slash" | "bad-path-character";

/** Why a text is not a SPIFFE ID. */
export type SpiffeIdRefusal = "too-long" | "scheme-missing" | TrustDomainRefusal | SpiffePathRefusal;

/** The longest SPIFFE ID, in bytes (SPIFFE-ID section 2.3). */
export const spiffeIdBytesMax = 2048;

/** The longest trust domain name, in bytes (SPIFFE-ID section 2.1). */
export const trustDomainBytesMax = 255;

const scheme = "spiffe://";

// In the specification's `[a-z0-9.-_]` the middle would be a range from "." to "_".
const outsideTrustDomain = /[^a-z0-9._-]/;
const outsidePath = /[^A-Za-z0-9._/-]/;

/**
 * Reads a SPIFFE ID character by character, since a URL parser would repair it: lower-case scheme and trust domain,
 * no user, port, query, fragment or percent-encoding. The path may be absent, as in a CA's certificate.
 */
export function parseSpiffeId(text: string): Result<SpiffeId, SpiffeIdRefusal> {
  if (text.length > spiffeIdBytesMax) return fail("too-long", `${text.length} characters`);
  if (!text.startsWith(scheme)) return fail("scheme-missing");
  const slash = text.indexOf("/", scheme.length);
  const end = slash < 0 ? text.length : slash;
  const domain = parseTrustDomain(text.slice(scheme.length, end));
  if (!domain.ok) return domain;
  const pathRefusal = spiffePathRefusal(text.slice(end));
  if (pathRefusal !== undefined) return pathRefusal;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- brands what was checked above
  return ok(text as SpiffeId);
}

/** Reads the bare name of a trust domain, without scheme and path. */
export function parseTrustDomain(text: string): Result<TrustDomain, TrustDomainRefusal> {
  if (text === "") return fail("trust-domain-missing");
  if (text.length > trustDomainBytesMax) return fail("trust-domain-too-long", `${text.length} characters`);
  const bad = outsideTrustDomain.exec(text);
  if (bad !== null) return fail("bad-trust-domain-character", positionOf(bad));
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- brands what was checked above
  return ok(text as TrustDomain);
}

/** The trust domain of a SPIFFE ID. */
export function trustDomainOf(id: SpiffeId): TrustDomain {
  const slash = id.indexOf("/", scheme.length);
  const name = id.slice(scheme.length, slash < 0 ? undefined : slash);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a part of what parseSpiffeId checked
  return name as TrustDomain;
}

/** The path of a SPIFFE ID with its leading slash, empty where the ID names the trust domain itself. */
export function pathOf(id: SpiffeId): string {
  const slash = id.indexOf("/", scheme.length);
  return slash < 0 ? "" : id.slice(slash);
}

/** The SPIFFE ID of a trust domain itself, which has no path: `spiffe://shop.example`. */
export function spiffeIdOfTrustDomain(domain: TrustDomain): SpiffeId {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- every trust domain makes a SPIFFE ID
  return `${scheme}${domain}` as SpiffeId;
}

/** Why a path, with its leading slash, could not stand in a SPIFFE ID; undefined where it could. */
export function spiffePathRefusal(path: string): ReturnType<typeof fail<SpiffePathRefusal>> | undefined {
  if (path === "") return undefined;
  const bad = outsidePath.exec(path);
  if (bad !== null) return fail("bad-path-character", positionOf(bad));
  if (path.endsWith("/")) return fail("trailing-slash");
  for (const segment of path.slice(1).split("/")) {
    if (segment === "") return fail("empty-segment");
    if (segment === "." || segment === "..") return fail("dot-segment");
  }
  return undefined;
}

function positionOf(match: RegExpExecArray): string {
  return `character ${match[0].charCodeAt(0)} at ${match.index}`;
}
