import { fail, ok, type Refusal, type Result } from "../base/result.ts";
import type { CompactJws, TokenObject } from "../crypto/index.ts";
import type { IssuerWorld } from "./certificate-authority.ts";
import {
  type IssuedToken,
  type MintRefusal,
  mintToken,
  type TokenKey,
  type TokenRequest,
} from "./mint-token.ts";
import type { SpiffeId, TrustDomain } from "./spiffe-id.ts";
import {
  readToken,
  shown,
  signatureRefusal,
  stateRefusal,
  type TokenChecks,
  type TokenRefusal,
} from "./token-claims.ts";

declare const checked: unique symbol;

/** A JWT-SVID that holds at the moment of its check. Whoever has the token can show it: it proves no possession. */
export interface CheckedJwtSvid {
  readonly spiffeId: SpiffeId;
  readonly trustDomain: TrustDomain;
  readonly audience: readonly string[];
  readonly expiresAtSeconds: number;
  /** `jti`, where the issuer set one. */
  readonly id: string | undefined;
  /** All claims, as the issuer wrote them. */
  readonly claims: TokenObject;
  readonly [checked]: true;
}

/** Why a text is not accepted as a JWT-SVID. */
export type JwtSvidRefusal =
  | TokenRefusal
  | "unknown-header"
  | "no-audience"
  | "malformed-audience"
  | "wrong-audience";

/** Why a JWT-SVID is not issued. */
export type JwtSvidMintRefusal = MintRefusal | "bad-audience";

/** How many audiences a JWT-SVID is issued for; one is best (SPIFFE JWT-SVID, section 3.2). */
export const audiencesMax = 8;

/** The longest audience that a JWT-SVID is issued for, in characters. */
export const audienceCharactersMax = 512;

const headerNames: ReadonlySet<string> = new Set(["alg", "kid", "typ"]);

/**
 * Judges a JWT-SVID (SPIFFE JWT-SVID sections 2 to 4, RFC 8725): its form, the signature by a key of its subject's own
 * trust domain, its times, and that it is meant for this audience. Stricter than the standard where that leaves room:
 * `kid` is required, and no `sub` without a path is a workload. Never throws.
 */
export function checkJwtSvid(
  token: string,
  checks: TokenChecks & { readonly audience: string },
): Result<CheckedJwtSvid, JwtSvidRefusal> {
  const presented = readToken(token, formRefusal);
  if (!presented.ok) return presented;
  const audience = audienceOf(presented.value.jws.claims);
  if (!audience.ok) return audience;
  const forged = signatureRefusal(presented.value, checks);
  if (forged !== undefined) return forged;
  if (!audience.value.includes(checks.audience))
    return fail("wrong-audience", `it is for ${shown(audience.value)}`);
  const stale = stateRefusal(presented.value, checks);
  if (stale !== undefined) return stale;
  const { spiffeId, trustDomain, expiresAtSeconds, id } = presented.value.claims;
  const { claims } = presented.value.jws;
  const svid = { spiffeId, trustDomain, audience: audience.value, expiresAtSeconds, id, claims };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the one place where every check has passed
  return ok(svid as CheckedJwtSvid);
}

/** Issues a JWT-SVID, signed by ES256, for one audience or a few. */
export function mintJwtSvid(
  key: TokenKey,
  request: TokenRequest & { readonly audience: readonly string[] },
  world: IssuerWorld,
): Result<IssuedToken, JwtSvidMintRefusal> {
  const audience = [...new Set(request.audience)];
  if (audience.length < 1 || audience.length > audiencesMax)
    return fail("bad-audience", `expected 1 to ${audiencesMax} audiences, and there are ${audience.length}`);
  for (const one of audience)
    if (one === "" || one.length > audienceCharactersMax || !one.isWellFormed())
      return fail("bad-audience", `expected 1 to ${audienceCharactersMax} characters: ${shown(one)}`);
  return mintToken(key, request, { type: "JWT", claims: { aud: audience }, world });
}

function formRefusal({ header }: CompactJws): Refusal<"bad-type" | "unknown-header"> | undefined {
  const { typ } = header;
  if (typ !== undefined && typ !== "JWT" && typ !== "JOSE") return fail("bad-type", shown(typ));
  const unknown = Object.keys(header).find((name) => !headerNames.has(name));
  return unknown === undefined ? undefined : fail("unknown-header", unknown.slice(0, 64));
}

function audienceOf(claims: TokenObject): Result<readonly string[], "no-audience" | "malformed-audience"> {
  const { aud } = claims;
  if (aud === undefined) return fail("no-audience");
  const all: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  const texts = all.filter((one): one is string => typeof one === "string" && one !== "");
  if (texts.length !== all.length) return fail("malformed-audience", shown(aud));
  return texts.length > 0 ? ok(texts) : fail("no-audience", "empty");
}
