import type { KeyObject } from "node:crypto";
import { base64Of, bytesOfBase64, sameBytes } from "../base/bytes.ts";
import { canonicalJson, type JsonObject } from "../base/canonical-json.ts";
import { fail, ok, type Result } from "../base/result.ts";
import {
  isStrictArray,
  isStrictObject,
  parseStrictJson,
  type StrictJson,
  type StrictJsonObject,
  type StrictJsonRefusal,
} from "../base/strict-json.ts";
import { exportPublicKey, parseCertificate, parsePublicJwk, publicJwkOf } from "../crypto/index.ts";
import { parseTrustDomain, type TrustDomain } from "./spiffe-id.ts";
import { parseTrustBundle, type TrustBundle, type TrustBundleRefusal } from "./trust-bundle.ts";

/**
 * What a trust domain says of its keys: the SPIFFE bundle. It holds no name, so it counts only together with the trust
 * domain that it was asked for. Without any key, nothing of that trust domain verifies.
 */
export interface SpiffeBundle {
  readonly trustDomain: TrustDomain;
  /** Under which X.509-SVIDs verify. */
  readonly x509: TrustBundle;
  /** Under which JWT-SVIDs verify, by `kid`. */
  readonly jwtKeys: ReadonlyMap<string, KeyObject>;
  /** Under which WIT-SVIDs verify, by `kid`. */
  readonly witKeys: ReadonlyMap<string, KeyObject>;
  /** Grows whenever the content changes; undefined where the publisher does not count. */
  readonly sequence: bigint | undefined;
  /** How soon the publisher would like to be asked again, in seconds. */
  readonly refreshHintSeconds: number | undefined;
}

/** Why a text is not a SPIFFE bundle. */
export type SpiffeBundleRefusal =
  | StrictJsonRefusal
  | TrustBundleRefusal
  | "too-large"
  | "not-a-bundle"
  | "too-many-keys"
  | "malformed-key"
  | "duplicate-kid"
  | "bad-sequence"
  | "bad-refresh-hint"
  | "too-many-trust-domains"
  | "bad-trust-domain";

/** The longest SPIFFE bundle, in bytes; also what an entry of the trust log holds. */
export const spiffeBundleBytesMax = 65_536;

/** How many keys a SPIFFE bundle may list, those of unknown kinds among them. */
export const spiffeBundleKeysMax = 128;

/** The longest bundle map, in bytes, and how many trust domains it may name. */
export const bundleMapBytesMax = 1_048_576;
export const bundleMapDomainsMax = 128;

const kidCharactersMax = 256;
const sequenceMax = 2n ** 64n;

/**
 * Reads the bundle of a trust domain (SPIFFE Trust Domain and Bundle, section 4). Keys of an unknown `kty` or `use` are
 * passed over, as are authorities without a certificate and authorities whose key is of a kind that is not read here:
 * what they signed is not trusted. Anything else that breaks the form refuses the bundle as a whole. Never throws.
 */
export function parseSpiffeBundle(
  trustDomain: TrustDomain,
  text: string,
): Result<SpiffeBundle, SpiffeBundleRefusal> {
  if (Buffer.byteLength(text) > spiffeBundleBytesMax) return fail("too-large", `${text.length} characters`);
  const json = parseStrictJson(text);
  return json.ok ? bundleOf(trustDomain, json.value) : json;
}

/** Writes a bundle in its one spelling, each authority as one certificate. */
export function writeSpiffeBundle(bundle: SpiffeBundle): string {
  const { sequence, refreshHintSeconds } = bundle;
  const members = [
    `"keys":${canonicalJson(keysOf(bundle))}`,
    ...(refreshHintSeconds === undefined ? [] : [`"spiffe_refresh_hint":${refreshHintSeconds}`]),
    ...(sequence === undefined ? [] : [`"spiffe_sequence":${sequence}`]),
  ];
  return `{${members.join(",")}}`;
}

/**
 * Reads the bundles of several trust domains (SPIFFE Trust Domain and Bundle, section 4.3): all of them or none. What
 * they say of refreshing does not count there.
 */
export function parseSpiffeBundleMap(
  text: string,
): Result<ReadonlyMap<TrustDomain, SpiffeBundle>, SpiffeBundleRefusal> {
  if (Buffer.byteLength(text) > bundleMapBytesMax) return fail("too-large", `${text.length} characters`);
  const json = parseStrictJson(text);
  if (!json.ok) return json;
  const domains = isStrictObject(json.value) ? json.value.get("trust_domains") : undefined;
  if (!isStrictObject(domains)) return fail("not-a-bundle", "no trust_domains");
  if (domains.size > bundleMapDomainsMax) return fail("too-many-trust-domains", `${domains.size}`);
  const bundles = new Map<TrustDomain, SpiffeBundle>();
  for (const [name, value] of domains) {
    const trustDomain = parseTrustDomain(name);
    if (!trustDomain.ok) return fail("bad-trust-domain", name);
    const bundle = bundleOf(trustDomain.value, value);
    if (!bundle.ok) return fail(bundle.reason, `${name}: ${bundle.detail}`);
    bundles.set(trustDomain.value, { ...bundle.value, refreshHintSeconds: undefined });
  }
  return ok(bundles);
}

/** Writes the bundles of several trust domains as one map. */
export function writeSpiffeBundleMap(bundles: Iterable<SpiffeBundle>): string {
  const sorted = [...bundles].sort((left, right) => (left.trustDomain < right.trustDomain ? -1 : 1));
  const members = sorted.map(
    (bundle) => `"${bundle.trustDomain}":${writeSpiffeBundle({ ...bundle, refreshHintSeconds: undefined })}`,
  );
  return `{"trust_domains":{${members.join(",")}}}`;
}

function bundleOf(trustDomain: TrustDomain, json: StrictJson): Result<SpiffeBundle, SpiffeBundleRefusal> {
  const keys = isStrictObject(json) ? json.get("keys") : undefined;
  if (!isStrictObject(json) || !isStrictArray(keys)) return fail("not-a-bundle", "no keys");
  if (keys.length > spiffeBundleKeysMax) return fail("too-many-keys", `${keys.length} keys`);
  const sequence = sequenceOf(json.get("spiffe_sequence"));
  if (!sequence.ok) return sequence;
  const hint = refreshHintOf(json.get("spiffe_refresh_hint"));
  if (!hint.ok) return hint;

  const certificates: Uint8Array[] = [];
  const byUse = { "jwt-svid": new Map<string, KeyObject>(), "wit-svid": new Map<string, KeyObject>() };
  for (const jwk of keys) {
    if (!isStrictObject(jwk)) return fail("malformed-key", "not an object");
    const kty = jwk.get("kty");
    const use = jwk.get("use");
    if (typeof kty !== "string") return fail("malformed-key", "no kty");
    if (kty !== "EC" && kty !== "RSA") continue;
    if (use === "x509-svid") {
      const der = authorityOf(jwk);
      if (!der.ok) return der;
      if (der.value !== undefined) certificates.push(der.value);
    } else if (use === "jwt-svid" || use === "wit-svid") {
      const key = tokenKeyOf(jwk);
      if (!key.ok) return key;
      const [kid, publicKey] = key.value;
      if (byUse[use].has(kid)) return fail("duplicate-kid", kid);
      byUse[use].set(kid, publicKey);
    }
  }
  const x509 = parseTrustBundle(trustDomain, certificates);
  if (!x509.ok) return x509;
  return ok({
    trustDomain,
    x509: x509.value,
    jwtKeys: byUse["jwt-svid"],
    witKeys: byUse["wit-svid"],
    sequence: sequence.value,
    refreshHintSeconds: hint.value,
  });
}

/** The certificate of an `x509-svid` key: the first of `x5c`, which has the key that the JWK states (RFC 7517, 4.7). */
function authorityOf(
  jwk: StrictJsonObject,
): Result<Uint8Array | undefined, "malformed-key" | "malformed-certificate"> {
  if (jwk.has("kid")) return fail("malformed-key", "an x509-svid key has no kid");
  const x5c = jwk.get("x5c");
  if (x5c === undefined) return ok(undefined);
  const [first] = isStrictArray(x5c) ? x5c : [];
  const der = typeof first === "string" ? bytesOfBase64(first) : undefined;
  if (der === undefined) return fail("malformed-key", "x5c holds no base64");
  const certificate = parseCertificate(der);
  if (!certificate.ok) {
    const { reason, detail } = certificate;
    return reason === "unsupported-key"
      ? ok(undefined)
      : fail("malformed-certificate", `${reason} ${detail}`);
  }
  const key = publicKeyOf(jwk);
  if (key === undefined || !sameBytes(exportPublicKey(key), certificate.value.publicKeyInfo))
    return fail("malformed-key", "the key is not that of its certificate");
  return ok(der);
}

function tokenKeyOf(jwk: StrictJsonObject): Result<readonly [string, KeyObject], "malformed-key"> {
  const kid = jwk.get("kid");
  if (typeof kid !== "string" || kid === "") return fail("malformed-key", "a key for tokens has a kid");
  if (kid.length > kidCharactersMax) return fail("malformed-key", `kid of ${kid.length} characters`);
  const key = publicKeyOf(jwk);
  return key === undefined ? fail("malformed-key", `kid ${kid}`) : ok([kid, key]);
}

/** The public key of a JWK, whatever it says that the key is for; undefined where it is a private one. */
function publicKeyOf(jwk: StrictJsonObject): KeyObject | undefined {
  const texts = [...jwk].flatMap(([name, value]) =>
    typeof value === "string" ? [[name, value] as const] : [],
  );
  const key = parsePublicJwk(Object.fromEntries(texts));
  return key.ok ? key.value : undefined;
}

/** An integer below 2^64, at most. */
function sequenceOf(value: StrictJson | undefined): Result<bigint | undefined, "bad-sequence"> {
  if (value === undefined) return ok(undefined);
  const sequence = typeof value === "bigint" ? value : integerOf(value);
  const isCount = sequence !== undefined && sequence >= 0n && sequence < sequenceMax;
  return isCount ? ok(sequence) : fail("bad-sequence", "not an integer of 64 bits");
}

function refreshHintOf(value: StrictJson | undefined): Result<number | undefined, "bad-refresh-hint"> {
  if (value === undefined) return ok(undefined);
  const seconds = integerOf(value);
  return seconds !== undefined && seconds >= 0n
    ? ok(Number(seconds))
    : fail("bad-refresh-hint", "not a number of seconds");
}

function integerOf(value: StrictJson): bigint | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : undefined;
}

function keysOf({ x509, jwtKeys, witKeys }: SpiffeBundle): JsonObject[] {
  const authorities = x509.authorities.map(({ der, publicKey }) => ({
    ...publicJwkOf(publicKey),
    use: "x509-svid",
    x5c: [base64Of(der)],
  }));
  const tokenKeys = (use: string, keys: ReadonlyMap<string, KeyObject>): JsonObject[] =>
    [...keys].map(([kid, key]) => ({ ...publicJwkOf(key), use, kid }));
  return [...authorities, ...tokenKeys("jwt-svid", jwtKeys), ...tokenKeys("wit-svid", witKeys)];
}
