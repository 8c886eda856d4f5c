import type { KeyObject } from "node:crypto";
import { isJsonObject, type Json } from "../base/canonical-json.ts";
import { fail, ok, type Result } from "../base/result.ts";
import {
  isStrictArray,
  isStrictObject,
  parseStrictJson,
  type StrictJsonRefusal,
} from "../base/strict-json.ts";
import { type CompactJwsRefusal, parsePublicJwk, readCompactJws, type TokenObject } from "../crypto/index.ts";
import {
  isWord,
  keyRefusal,
  readAlgorithm,
  readTimes,
  shown,
  type TokenKeys,
  timesRefusal,
} from "./token-claims.ts";

declare const checked: unique symbol;

/** The account and the pod that a Kubernetes service-account token was issued for, and that holds at this moment. */
export interface CheckedServiceAccount {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly podName: string;
  readonly podUid: string;
  readonly [checked]: true;
}

/** What a service-account token is judged by, besides itself. */
export interface ServiceAccountChecks {
  /** The cluster's `--service-account-issuer`, to the letter. */
  readonly issuer: string;
  /** An audience that the token must have; any unless given. */
  readonly audience: string | undefined;
  /** The cluster's public keys, by `kid`. */
  readonly keys: TokenKeys;
  readonly nowSeconds: number;
}

/** Why a text is not accepted as a service-account token of the cluster. */
export type ServiceAccountRefusal =
  | CompactJwsRefusal
  | "bad-algorithm"
  | "critical-header"
  | "no-key-id"
  | "no-expiry"
  | "malformed-claim"
  | "wrong-issuer"
  | "wrong-audience"
  | "no-pod"
  | "unknown-key"
  | "wrong-key-type"
  | "bad-signature"
  | "expired"
  | "not-yet-valid"
  | "issued-in-the-future";

/** Why a text is not a set of keys. */
export type KeySetRefusal =
  | StrictJsonRefusal
  | "too-large"
  | "not-a-key-set"
  | "too-many-keys"
  | "malformed-key"
  | "duplicate-kid";

/** The longest set of a cluster's keys, in bytes. */
export const keySetBytesMax = 65_536;

/** How many keys such a set may have. */
export const keySetKeysMax = 64;

const nameCharactersMax = 253;

/**
 * Judges a service-account token that Kubernetes projects into a pod: by the cluster's issuer and keys, in its time, for
 * this audience, and bound to a pod. `unknown-key` is said only of a token that names this issuer. Never throws.
 */
export function checkServiceAccountToken(
  token: string,
  { issuer, audience, keys, nowSeconds }: ServiceAccountChecks,
): Result<CheckedServiceAccount, ServiceAccountRefusal> {
  const jws = readCompactJws(token);
  if (!jws.ok) return jws;
  const { header, claims } = jws.value;
  const algorithm = readAlgorithm(header);
  if (!algorithm.ok) return algorithm;
  const keyId = header["kid"];
  if (!isWord(keyId)) return fail("no-key-id", shown(keyId));
  if (claims["iss"] !== issuer) return fail("wrong-issuer", shown(claims["iss"]));
  const times = readTimes(claims);
  if (!times.ok) return times;
  const forged = keyRefusal(jws.value, { algorithm: algorithm.value, keyId }, keys);
  if (forged !== undefined) return forged;
  const untimely = timesRefusal(times.value, nowSeconds);
  if (untimely !== undefined) return untimely;
  if (audience !== undefined && !isFor(claims["aud"], audience))
    return fail("wrong-audience", `it is for ${shown(claims["aud"])}`);
  return accountOf(claims);
}

/**
 * Reads the keys of a cluster (RFC 7517, section 5) by `kid`: those that tokens may be signed by, others are passed
 * over. A name that stands twice or a broken key refuses the set as a whole. Never throws.
 */
export function parseKeySet(text: string): Result<ReadonlyMap<string, KeyObject>, KeySetRefusal> {
  if (Buffer.byteLength(text) > keySetBytesMax) return fail("too-large", `${text.length} characters`);
  const json = parseStrictJson(text);
  if (!json.ok) return json;
  const list = isStrictObject(json.value) ? json.value.get("keys") : undefined;
  if (!isStrictArray(list)) return fail("not-a-key-set", "no keys");
  if (list.length > keySetKeysMax) return fail("too-many-keys", `${list.length} keys`);
  const keys = new Map<string, KeyObject>();
  for (const jwk of list) {
    if (!isStrictObject(jwk)) return fail("malformed-key", "not an object");
    const [kid, use] = [jwk.get("kid"), jwk.get("use")];
    if (!isWord(kid)) return fail("malformed-key", "a key has a kid");
    if (use !== undefined && use !== "sig") continue;
    const texts = [...jwk].filter((member): member is [string, string] => typeof member[1] === "string");
    const key = parsePublicJwk(Object.fromEntries(texts));
    if (!key.ok && key.reason === "unsupported-key") continue;
    if (!key.ok) return fail("malformed-key", `kid ${kid}: ${key.reason} ${key.detail}`.trim());
    if (keys.has(kid)) return fail("duplicate-kid", kid);
    keys.set(kid, key.value);
  }
  return ok(keys);
}

function isFor(aud: Json | undefined, audience: string): boolean {
  return Array.isArray(aud) ? aud.includes(audience) : aud === audience;
}

function accountOf(claims: TokenObject): Result<CheckedServiceAccount, "malformed-claim" | "no-pod"> {
  const cluster = claims["kubernetes.io"];
  if (!isObject(cluster)) return fail("malformed-claim", "kubernetes.io");
  const { namespace, serviceaccount, pod } = cluster;
  if (!isClusterName(namespace)) return fail("malformed-claim", `namespace ${shown(namespace)}`);
  if (
    !isObject(serviceaccount) ||
    !isClusterName(serviceaccount["name"]) ||
    !isClusterUid(serviceaccount["uid"])
  )
    return fail("malformed-claim", `serviceaccount ${shown(serviceaccount)}`);
  const serviceAccount = serviceaccount["name"];
  if (claims["sub"] !== `system:serviceaccount:${namespace}:${serviceAccount}`)
    return fail("malformed-claim", `sub ${shown(claims["sub"])}`);
  // A token that is bound to no pod can be anywhere, and outlives whatever it was given to.
  if (pod === undefined) return fail("no-pod");
  if (!isObject(pod) || !isClusterName(pod["name"]) || !isClusterUid(pod["uid"]))
    return fail("malformed-claim", `pod ${shown(pod)}`);
  const account = { namespace, serviceAccount, podName: pod["name"], podUid: pod["uid"] };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one of two places where every check has passed
  return ok(account as CheckedServiceAccount);
}

function isObject(value: Json | undefined): value is TokenObject {
  return value !== undefined && isJsonObject(value);
}

/** A name as Kubernetes gives it (RFC 1123), so that none of them holds what a selector is cut at. */
export function isClusterName(value: unknown): value is string {
  return (
    typeof value === "string" &&
    value.length <= nameCharactersMax &&
    /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(value)
  );
}

/** An identifier of a thing of a cluster. */
export function isClusterUid(value: unknown): value is string {
  return typeof value === "string" && /^[0-9A-Za-z-]{1,64}$/.test(value);
}
