import { createHmac } from "node:crypto";
import { expect, it } from "vitest";
import {
  accountClaims,
  accountToken,
  clusterIssuer,
  clusterKey,
  keySetOf,
} from "../../test/apparatus/service-account-tokens.ts";
import { isJsonObject } from "../base/canonical-json.ts";
import { type TokenObject, writeCompactJws } from "../crypto/index.ts";
import { checkServiceAccountToken, parseKeySet } from "./index.ts";

const nowSeconds = 1_800_000_000;
const audience = "https://kubernetes.default.svc";
const key = clusterKey("one");
const stranger = clusterKey("one");
const claims = accountClaims(nowSeconds);
const keySet = parseKeySet(keySetOf(key));
const keys = keySet.ok ? keySet.value : new Map();

function verdictOf(token: string): string {
  const checked = checkServiceAccountToken(token, { issuer: clusterIssuer, audience, keys, nowSeconds });
  return checked.ok ? "accepted" : checked.reason;
}

function without(name: string): TokenObject {
  return Object.fromEntries(Object.entries(claims).filter(([one]) => one !== name));
}

function cluster(change: TokenObject): TokenObject {
  const before = claims["kubernetes.io"];
  return { ...claims, "kubernetes.io": { ...(isJsonObject(before) ? before : {}), ...change } };
}

function encoded(...parts: readonly string[]): string {
  return parts.map((part) => Buffer.from(part).toString("base64url")).join(".");
}

function hmacToken(): string {
  const input = encoded(JSON.stringify({ alg: "HS256", kid: "one" }), JSON.stringify(claims));
  return `${input}.${createHmac("sha256", keySetOf(key)).update(input).digest("base64url")}`;
}

const { "kubernetes.io": ofCluster } = claims;
const clusterText = JSON.stringify(ofCluster);

it("says which account and pod a token is for", () => {
  const checked = checkServiceAccountToken(accountToken(key, claims), {
    issuer: clusterIssuer,
    audience: undefined,
    keys,
    nowSeconds,
  });

  expect(checked).toMatchObject({
    ok: true,
    value: {
      namespace: "shop",
      serviceAccount: "payments",
      podName: "payments-7d9f",
      podUid: "4a1d3a6e-0000-4000-8000-000000000002",
    },
  });
});

it.each<[string, string, string]>([
  ["as Kubernetes projects it", accountToken(key, claims), "accepted"],
  ["one audience, no list", accountToken(key, { ...claims, aud: audience }), "accepted"],
  ["good for a year", accountToken(key, { ...claims, exp: nowSeconds + 31_536_000 }), "accepted"],
  ["a clock a little ahead", accountToken(key, { ...claims, nbf: nowSeconds + 20 }), "accepted"],
  ["not a token", "token", "malformed-token"],
  ["beyond 8 KiB", accountToken(key, { ...claims, more: "x".repeat(8_192) }), "token-too-large"],
  [
    "a member twice",
    `${encoded(`{"alg":"ES256","kid":"one"}`, `{"iss":"a","iss":"${clusterIssuer}"}`)}.AAAA`,
    "duplicate-member",
  ],
  ["alg none", `${encoded(`{"alg":"none","kid":"one"}`, JSON.stringify(claims))}.`, "bad-algorithm"],
  ["HS256 with the public key for a secret", hmacToken(), "bad-algorithm"],
  [
    "a critical header",
    writeCompactJws({ alg: "ES256", kid: "one", crit: ["exp"] }, claims, key.privateKey),
    "critical-header",
  ],
  ["no kid", writeCompactJws({ alg: "ES256" }, claims, key.privateKey), "no-key-id"],
  ["another issuer", accountToken(key, { ...claims, iss: `${clusterIssuer}/` }), "wrong-issuer"],
  ["no issuer", accountToken(key, without("iss")), "wrong-issuer"],
  [
    "another algorithm than the key's",
    writeCompactJws({ alg: "RS256", kid: "one" }, claims, key.privateKey),
    "wrong-key-type",
  ],
  ["an unknown key", accountToken(clusterKey("two"), claims), "unknown-key"],
  ["a stranger's signature", accountToken(stranger, claims), "bad-signature"],
  ["no expiry", accountToken(key, without("exp")), "no-expiry"],
  ["an expiry in text", accountToken(key, { ...claims, exp: "9999999999" }), "malformed-claim"],
  ["expired", accountToken(key, { ...claims, exp: nowSeconds - 60 }), "expired"],
  ["not yet valid", accountToken(key, { ...claims, nbf: nowSeconds + 60 }), "not-yet-valid"],
  ["issued in the future", accountToken(key, { ...claims, iat: nowSeconds + 60 }), "issued-in-the-future"],
  ["another audience", accountToken(key, { ...claims, aud: ["vault"] }), "wrong-audience"],
  ["no audience", accountToken(key, without("aud")), "wrong-audience"],
  ["a part of the audience", accountToken(key, { ...claims, aud: `${audience}.evil` }), "wrong-audience"],
  ["nothing of Kubernetes", accountToken(key, without("kubernetes.io")), "malformed-claim"],
  ["Kubernetes in text", accountToken(key, { ...claims, "kubernetes.io": clusterText }), "malformed-claim"],
  ["no service account", accountToken(key, cluster({ serviceaccount: null })), "malformed-claim"],
  [
    "another subject",
    accountToken(key, { ...claims, sub: "system:serviceaccount:shop:orders" }),
    "malformed-claim",
  ],
  ["a namespace that is no name", accountToken(key, cluster({ namespace: "shop:sa" })), "malformed-claim"],
  [
    "a token of an account, of no pod",
    accountToken(key, {
      ...claims,
      "kubernetes.io": { namespace: "shop", serviceaccount: { name: "payments", uid: "1" } },
    }),
    "no-pod",
  ],
  ["a pod without a uid", accountToken(key, cluster({ pod: { name: "payments-7d9f" } })), "malformed-claim"],
])("%s: %#", (_, token, verdict) => {
  expect(verdictOf(token)).toBe(verdict);
});

it.each<[string, string, string]>([
  ["not JSON", "<html>", "malformed-json"],
  ["a member twice", `{"keys":[],"keys":[]}`, "duplicate-key"],
  ["no keys", "{}", "not-a-key-set"],
  ["a key without kid", `{"keys":[{"kty":"EC"}]}`, "malformed-key"],
  ["a private key", `{"keys":[{"kid":"a","kty":"EC","d":"AA"}]}`, "malformed-key"],
  ["a kid twice", keySetOf(key, stranger), "duplicate-kid"],
  ["65 keys", JSON.stringify({ keys: Array.from({ length: 65 }, () => ({})) }), "too-many-keys"],
  ["64 KiB and more", `{"keys":[],"more":"${"x".repeat(65_536)}"}`, "too-large"],
])("refuses a set of keys: %s", (_, text, reason) => {
  const read = parseKeySet(text);
  expect(read.ok ? "accepted" : read.reason).toBe(reason);
});

it("passes over keys that no token is signed by", () => {
  const read = parseKeySet(
    `{"keys":[{"kid":"a","kty":"OKP","crv":"Ed25519"},{"kid":"b","kty":"EC","use":"enc"}]}`,
  );
  expect(read).toEqual({ ok: true, value: new Map() });
});
