import type { KeyObject } from "node:crypto";
import { fail, ok, type Refusal, type Result } from "../base/result.ts";
import {
  type CompactJws,
  type CompactJwsRefusal,
  fitsAlgorithm,
  isJoseAlgorithm,
  type JoseAlgorithm,
  readCompactJws,
  type TokenObject,
  verifyJws,
} from "../crypto/index.ts";
import { parseSpiffeId, pathOf, type SpiffeId, type TrustDomain, trustDomainOf } from "./spiffe-id.ts";
import { svidLifetimeSecondsMax } from "./svid-limits.ts";

/** The public keys of one trust domain for tokens of one use, by `kid`. */
export type TokenKeys = ReadonlyMap<string, KeyObject>;

/** What a token is judged by, besides itself. */
export interface TokenChecks {
  /**
   * The keys of a trust domain for tokens of this very use: those with `use` "jwt-svid", or those with "wit-svid", never
   * both. Undefined for a domain that is not accepted.
   */
  readonly keysOf: (trustDomain: TrustDomain) => TokenKeys | undefined;
  readonly nowSeconds: number;
  /** Whether a token that is genuine and in its time does not count any more. */
  readonly isRevoked: (token: TokenNames) => boolean;
}

/** What a token can be revoked by. */
export interface TokenNames {
  readonly spiffeId: SpiffeId;
  readonly trustDomain: TrustDomain;
  /** `jti`; tokens of this mesh have one, others may do without. */
  readonly id: string | undefined;
  /** The instance that it was issued for, as this mesh writes it. */
  readonly instance: string | undefined;
  /** When it was issued, where it says so. */
  readonly issuedAtSeconds: number | undefined;
}

/** Why a token of any kind is not accepted. */
export type TokenRefusal =
  | CompactJwsRefusal
  | "bad-algorithm"
  | "bad-type"
  | "critical-header"
  | "no-key-id"
  | "malformed-claim"
  | "no-subject"
  | "bad-spiffe-id"
  | "no-path"
  | "no-expiry"
  | "unknown-trust-domain"
  | "unknown-key"
  | "wrong-key-type"
  | "bad-signature"
  | "expired"
  | "not-yet-valid"
  | "issued-in-the-future"
  | "lifetime-too-long"
  | "revoked";

/** How far the clocks of who issues tokens and of who checks them may be apart, in seconds. */
export const tokenLeewaySeconds = 30;

const tokenIdCharactersMax = 255;
const secondsMax = 253_402_300_799;

/** What is said of every token, once its form is known to be that of its kind. */
export interface TokenClaims extends TokenNames {
  readonly algorithm: JoseAlgorithm;
  readonly keyId: string;
  readonly expiresAtSeconds: number;
  readonly notBeforeSeconds: number | undefined;
}

/** A token that has been read, and nothing of it believed yet. */
export interface PresentedToken {
  readonly jws: CompactJws;
  readonly claims: TokenClaims;
}

/** What tells one kind of token from another in its form; a reason of its own where that is violated. */
export type FormRule<Reason extends string> = (jws: CompactJws) => Refusal<Reason> | undefined;

/** Reads a token of one kind: header, the rules of its kind, and the claims that all kinds have. Never throws. */
export function readToken<Reason extends string>(
  text: string,
  formRefusal: FormRule<Reason>,
): Result<PresentedToken, TokenRefusal | Reason> {
  const jws = readCompactJws(text);
  if (!jws.ok) return jws;
  const { header, claims } = jws.value;
  const algorithm = readAlgorithm(header);
  if (!algorithm.ok) return algorithm;
  const refusal = formRefusal(jws.value);
  if (refusal !== undefined) return refusal;
  const keyId = header["kid"];
  if (!isWord(keyId)) return fail("no-key-id", shown(keyId));
  const names = readNames(claims);
  if (!names.ok) return names;
  const times = readTimes(claims);
  if (!times.ok) return times;
  return ok({
    jws: jws.value,
    claims: { algorithm: algorithm.value, keyId, ...names.value, ...times.value },
  });
}

/** The algorithm that a header names, where nothing in it is called critical. */
export function readAlgorithm(
  header: TokenObject,
): Result<JoseAlgorithm, "bad-algorithm" | "critical-header"> {
  const algorithm = header["alg"];
  if (!isJoseAlgorithm(algorithm)) return fail("bad-algorithm", shown(algorithm));
  // Nothing that a token could call critical is known here (RFC 7515, section 4.1.11).
  return Object.hasOwn(header, "crit") ? fail("critical-header", shown(header["crit"])) : ok(algorithm);
}

/** Whether the signature is by a key of the subject's own trust domain; undefined where it is. */
export function signatureRefusal(
  { jws, claims }: PresentedToken,
  { keysOf }: TokenChecks,
): Refusal<TokenRefusal> | undefined {
  const { trustDomain } = claims;
  const keys = keysOf(trustDomain);
  return keys === undefined ? fail("unknown-trust-domain", trustDomain) : keyRefusal(jws, claims, keys);
}

/** Whether the signature is by the key that the token names, of these; undefined where it is. */
export function keyRefusal(
  jws: CompactJws,
  { algorithm, keyId }: Pick<TokenClaims, "algorithm" | "keyId">,
  keys: TokenKeys,
): Refusal<"unknown-key" | "wrong-key-type" | "bad-signature"> | undefined {
  const key = keys.get(keyId);
  if (key === undefined) return fail("unknown-key", keyId);
  if (!fitsAlgorithm(key, algorithm)) return fail("wrong-key-type", `${algorithm} by ${keyId}`);
  return verifyJws(algorithm, key, jws) ? undefined : fail("bad-signature", `by ${keyId}`);
}

/** Whether a token with a good signature is in its time and not revoked; undefined where it is. */
export function stateRefusal(
  { claims }: PresentedToken,
  { nowSeconds, isRevoked }: TokenChecks,
): Refusal<TokenRefusal> | undefined {
  const untimely = timesRefusal(claims, nowSeconds);
  if (untimely !== undefined) return untimely;
  if (claims.expiresAtSeconds > nowSeconds + tokenLeewaySeconds + svidLifetimeSecondsMax)
    return fail("lifetime-too-long", `ends at ${claims.expiresAtSeconds}`);
  return isRevoked(claims) ? fail("revoked", claims.id ?? "it has no jti") : undefined;
}

/** Whether it is a token's time, give or take {@link tokenLeewaySeconds}; undefined where it is. */
export function timesRefusal(
  { expiresAtSeconds, notBeforeSeconds = 0, issuedAtSeconds = 0 }: TokenTimes,
  nowSeconds: number,
): Refusal<"expired" | "not-yet-valid" | "issued-in-the-future"> | undefined {
  if (nowSeconds >= expiresAtSeconds + tokenLeewaySeconds)
    return fail("expired", `at ${expiresAtSeconds}, and it is ${Math.floor(nowSeconds)}`);
  const latestSeconds = nowSeconds + tokenLeewaySeconds;
  if (notBeforeSeconds > latestSeconds) return fail("not-yet-valid", `before ${notBeforeSeconds}`);
  return issuedAtSeconds > latestSeconds ? fail("issued-in-the-future", `at ${issuedAtSeconds}`) : undefined;
}

/** A value out of a token as a detail shows it. */
export function shown(value: unknown): string {
  return value === undefined ? "absent" : JSON.stringify(value).slice(0, 64);
}

function readNames(
  claims: TokenObject,
): Result<
  Pick<TokenClaims, "spiffeId" | "trustDomain" | "id" | "instance">,
  "no-subject" | "bad-spiffe-id" | "no-path" | "malformed-claim"
> {
  const { sub, jti: id, instance } = claims;
  if (typeof sub !== "string" || sub === "") return fail("no-subject", shown(sub));
  const spiffeId = parseSpiffeId(sub);
  if (!spiffeId.ok) return fail("bad-spiffe-id", `${spiffeId.reason}: ${spiffeId.detail}`);
  if (pathOf(spiffeId.value) === "") return fail("no-path", spiffeId.value);
  if (id !== undefined && !isWord(id)) return fail("malformed-claim", `jti ${shown(id)}`);
  return ok({
    spiffeId: spiffeId.value,
    trustDomain: trustDomainOf(spiffeId.value),
    id,
    // Elsewhere the claim may mean anything.
    instance: typeof instance === "string" ? instance : undefined,
  });
}

/** When a token counts, in seconds since 1970. */
export type TokenTimes = Pick<TokenClaims, "expiresAtSeconds" | "notBeforeSeconds" | "issuedAtSeconds">;

/** Reads `exp`, which every token has, `nbf` and `iat`. */
export function readTimes(claims: TokenObject): Result<TokenTimes, "no-expiry" | "malformed-claim"> {
  const { exp, nbf, iat } = claims;
  if (exp === undefined) return fail("no-expiry");
  if (!isTime(exp)) return fail("malformed-claim", `exp ${shown(exp)}`);
  if (nbf !== undefined && !isTime(nbf)) return fail("malformed-claim", `nbf ${shown(nbf)}`);
  if (iat !== undefined && !isTime(iat)) return fail("malformed-claim", `iat ${shown(iat)}`);
  return ok({ expiresAtSeconds: exp, notBeforeSeconds: nbf, issuedAtSeconds: iat });
}

/** A NumericDate (RFC 7519, section 2) of this side of the year 10000. */
function isTime(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && value <= secondsMax;
}

/** Whether a value is a short text of visible ASCII. */
export function isWord(value: unknown): value is string {
  return typeof value === "string" && value.length <= tokenIdCharactersMax && /^[!-~]+$/.test(value);
}
