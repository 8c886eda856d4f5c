import { createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto";
import fc from "fast-check";
import { expect, it, test } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { exportPublicKey, generateP256, readCompactJws } from "../crypto/index.ts";
import {
  audienceCharactersMax,
  audiencesMax,
  checkJwtSvid,
  checkWitSvid,
  mintJwtSvid,
  mintWitSvid,
  openTokenKey,
  type TokenChecks,
  type TokenNames,
  tokenKeysOf,
  tokenLeewaySeconds,
  tokenLifetimeSecondsMax,
} from "./index.ts";
import { parseTrustDomain } from "./spiffe-id.ts";
import { testId, valueOf } from "./svid-for-tests.ts";

const clock = fakeClock();
const world = { clock, randomBytes };
const nowSeconds = Math.floor(clock.nowSeconds());
const trustDomain = valueOf(parseTrustDomain("shop.example"));
const { privateKey, publicKey } = generateP256();
const key = openTokenKey(trustDomain, privateKey, nowSeconds + 86_400);
const keys = tokenKeysOf([exportPublicKey(publicKey)]);
const spiffeId = testId("spiffe://shop.example/shop/payments");
const instance = "5c2a9f0e-3c8f-4a41-9f6e-0a1b2c3d4e5f";
const request = { spiffeId, instance };
const holder = generateP256();

function checksAt(seconds: number, isRevoked: (token: TokenNames) => boolean = () => false): TokenChecks {
  return { keysOf: (domain) => (domain === trustDomain ? keys : undefined), nowSeconds: seconds, isRevoked };
}

function jwtAt(token: string, seconds: number): string {
  const checked = checkJwtSvid(token, { ...checksAt(seconds), audience: "api" });
  return checked.ok ? "accepted" : checked.reason;
}

it("mints a JWT-SVID that its check accepts, with an id and the instance", () => {
  const minted = valueOf(mintJwtSvid(key, { ...request, audience: ["api"] }, world));

  const checked = checkJwtSvid(minted.token, { ...checksAt(nowSeconds), audience: "api" });

  expect(checked).toMatchObject({
    ok: true,
    value: {
      spiffeId,
      trustDomain,
      audience: ["api"],
      id: minted.id,
      expiresAtSeconds: nowSeconds + 300,
      claims: { instance, iat: nowSeconds },
    },
  });
  expect(valueOf(readCompactJws(minted.token)).header).toStrictEqual({
    alg: "ES256",
    kid: key.id,
    typ: "JWT",
  });
  expect(minted.id).toMatch(/^[0-9a-f]{32}$/);
});

it("mints a WIT-SVID that its check accepts, bound to the key and for no audience", () => {
  const minted = valueOf(mintWitSvid(key, { ...request, confirmationKey: holder.publicKey }, world));

  const checked = valueOf(checkWitSvid(minted.token, checksAt(nowSeconds)));

  expect(checked).toMatchObject({ spiffeId, trustDomain, id: minted.id, confirmationAlgorithm: "ES256" });
  expect(exportPublicKey(checked.confirmationKey)).toStrictEqual(exportPublicKey(holder.publicKey));
  expect(valueOf(readCompactJws(minted.token)).claims).not.toHaveProperty("aud");
});

test.each([
  ["bad-audience", { audience: [] }],
  ["bad-audience", { audience: [""] }],
  ["bad-audience", { audience: ["x".repeat(audienceCharactersMax + 1)] }],
  ["bad-audience", { audience: ["\ud800"] }],
  ["bad-audience", { audience: Array.from({ length: audiencesMax + 1 }, (_, at) => `${at}`) }],
  ["bad-lifetime", { lifetimeSeconds: 0 }],
  ["bad-lifetime", { lifetimeSeconds: tokenLifetimeSecondsMax + 1 }],
  ["bad-lifetime", { lifetimeSeconds: Number.NaN }],
  ["other-trust-domain", { spiffeId: testId("spiffe://bank.example/teller") }],
  ["no-path", { spiffeId: testId("spiffe://shop.example") }],
] as const)("mints no JWT-SVID: %s %j", (reason, unusual) => {
  const minted = mintJwtSvid(key, { ...request, audience: ["api"], ...unusual }, world);

  expect(minted).toMatchObject({ ok: false, reason });
});

test.each([
  ["private", holder.privateKey],
  ["on another curve", generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey],
  ["for Ed25519", generateKeyPairSync("ed25519").publicKey],
])("mints no WIT-SVID for a key that is %s", (_, confirmationKey) => {
  expect(mintWitSvid(key, { ...request, confirmationKey }, world)).toMatchObject({
    ok: false,
    reason: "bad-confirmation-key",
  });
});

it("mints nothing that outlives its key, and nothing once the key has ended", () => {
  const short = openTokenKey(trustDomain, privateKey, nowSeconds + 10);
  const over = openTokenKey(trustDomain, privateKey, nowSeconds);

  expect(mintJwtSvid(short, { ...request, audience: ["api"] }, world)).toMatchObject({
    value: { expiresAtSeconds: nowSeconds + 10 },
  });
  expect(mintJwtSvid(over, { ...request, audience: ["api"] }, world)).toMatchObject({
    reason: "token-key-expired",
  });
});

it("takes a key on P-256 alone", () => {
  const { privateKey: other } = generateKeyPairSync("ec", { namedCurve: "P-384" });

  expect(() => openTokenKey(trustDomain, other, nowSeconds)).toThrow(/P-256/);
});

it("counts a token until its end and the leeway, and not a second longer", () => {
  const { token, expiresAtSeconds } = valueOf(mintJwtSvid(key, { ...request, audience: ["api"] }, world));

  expect(jwtAt(token, expiresAtSeconds + tokenLeewaySeconds - 1)).toBe("accepted");
  expect(jwtAt(token, expiresAtSeconds + tokenLeewaySeconds)).toBe("expired");
  expect(jwtAt(token, nowSeconds - tokenLeewaySeconds)).toBe("accepted");
  expect(jwtAt(token, nowSeconds - tokenLeewaySeconds - 1)).toBe("issued-in-the-future");
});

it("asks whether a token was revoked by what it can be revoked by, once all else holds", () => {
  const asked: TokenNames[] = [];
  const isRevoked = (token: TokenNames): boolean => asked.push(token) > 0;
  const jwt = valueOf(mintJwtSvid(key, { ...request, audience: ["api"] }, world));
  const wit = valueOf(mintWitSvid(key, { ...request, confirmationKey: holder.publicKey }, world));
  const checks = checksAt(nowSeconds, isRevoked);

  expect(checkJwtSvid(`${jwt.token.slice(0, -2)}AA`, { ...checks, audience: "api" }).ok).toBe(false);
  expect(asked).toStrictEqual([]);
  expect(checkJwtSvid(jwt.token, { ...checks, audience: "api" })).toMatchObject({ reason: "revoked" });
  expect(checkWitSvid(wit.token, checks)).toMatchObject({ reason: "revoked" });
  expect(asked).toMatchObject([
    { spiffeId, trustDomain, id: jwt.id, instance, issuedAtSeconds: nowSeconds },
    { spiffeId, trustDomain, id: wit.id, instance, issuedAtSeconds: nowSeconds },
  ]);
});

it("accepts no token of which a character was changed, and throws at none", () => {
  const jwt = valueOf(mintJwtSvid(key, { ...request, audience: ["api"] }, world)).token;
  const wit = valueOf(mintWitSvid(key, { ...request, confirmationKey: holder.publicKey }, world)).token;
  fc.assert(
    fc.property(fc.constantFrom(jwt, wit), fc.nat(), fc.string({ maxLength: 3 }), (token, at, change) => {
      const from = at % token.length;
      const changed = token.slice(0, from) + change + token.slice(from + 1);
      if (changed === token) return;
      expect(checkJwtSvid(changed, { ...checksAt(nowSeconds), audience: "api" }).ok).toBe(false);
      expect(checkWitSvid(changed, checksAt(nowSeconds)).ok).toBe(false);
    }),
    { numRuns: 500 },
  );
});

it("throws at no text and at no JSON, whoever signed it", () => {
  const part = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.json({ maxDepth: 3 }).map((text) => Buffer.from(text).toString("base64url")),
    fc
      .record(
        {
          alg: fc.oneof(fc.constant("ES256"), fc.jsonValue()),
          kid: fc.oneof(fc.constant(key.id), fc.jsonValue()),
          typ: fc.oneof(fc.constantFrom("JWT", "wit+jwt"), fc.jsonValue()),
          sub: fc.oneof(fc.constant(spiffeId), fc.jsonValue()),
          aud: fc.oneof(fc.constant("api"), fc.jsonValue()),
          exp: fc.oneof(fc.constant(nowSeconds + 60), fc.jsonValue()),
          cnf: fc.oneof(fc.record({ jwk: fc.jsonValue() }), fc.jsonValue()),
        },
        { requiredKeys: [] },
      )
      .map((object) => Buffer.from(JSON.stringify(object)).toString("base64url")),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 4 }), (parts) => {
      expect(checkJwtSvid(parts.join("."), { ...checksAt(nowSeconds), audience: "api" }).ok).toBe(false);
      expect(checkWitSvid(parts.join("."), checksAt(nowSeconds)).ok).toBe(false);
    }),
    { numRuns: 60 },
  );
});

it("names a key by the SHA-256 of its public half", () => {
  expect([...keys.keys()]).toStrictEqual([key.id]);
  expect(exportPublicKey(createPublicKey(key.privateKey))).toStrictEqual(exportPublicKey(publicKey));
});
