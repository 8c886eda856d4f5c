import { generateKeyPairSync, type KeyObject } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { base64Of } from "../base/bytes.ts";
import { exportPublicKey, generateP256 } from "../crypto/index.ts";
import {
  parseSpiffeBundle,
  parseSpiffeBundleMap,
  type SpiffeBundle,
  writeSpiffeBundle,
  writeSpiffeBundleMap,
} from "./spiffe-bundle.ts";
import { testDomain, valueOf } from "./svid-for-tests.ts";

const shop = testDomain("shop.example");
const other = testDomain("other.example");
const tokenKey = generateP256().publicKey;
const bundle: SpiffeBundle = {
  trustDomain: shop.trustDomain,
  x509: shop.bundle,
  jwtKeys: new Map([["one", tokenKey]]),
  witKeys: new Map([["one", generateP256().publicKey]]),
  sequence: 12n,
  refreshHintSeconds: 300,
};
const jwk = (key: KeyObject, members: object): object => ({ ...key.export({ format: "jwk" }), ...members });
const authority = (members: object = {}): object =>
  jwk(shop.root.certificate.publicKey, {
    use: "x509-svid",
    x5c: [base64Of(shop.root.certificate.der)],
    ...members,
  });
const read = (json: object): ReturnType<typeof parseSpiffeBundle> =>
  parseSpiffeBundle(shop.trustDomain, JSON.stringify(json));

const spki = (keys: ReadonlyMap<string, KeyObject>): [string, string][] =>
  [...keys].map(([kid, key]) => [kid, base64Of(exportPublicKey(key))]);

test("what is written is read again as the same bundle, and written as the same text", () => {
  const text = writeSpiffeBundle(bundle);

  const again = valueOf(parseSpiffeBundle(shop.trustDomain, text));

  expect(again).toMatchObject({ trustDomain: "shop.example", sequence: 12n, refreshHintSeconds: 300 });
  expect(again.x509.authorities.map(({ sha256 }) => sha256)).toEqual([shop.root.certificate.sha256]);
  expect(spki(again.jwtKeys)).toEqual(spki(bundle.jwtKeys));
  expect(spki(again.witKeys)).toEqual(spki(bundle.witKeys));
  expect(writeSpiffeBundle(again)).toBe(text);
});

test("a bundle without keys is one under which nothing verifies", () => {
  const { x509, jwtKeys, witKeys, sequence } = valueOf(read({ keys: [] }));

  expect([x509.authorities.length, jwtKeys.size, witKeys.size, sequence]).toEqual([0, 0, 0, undefined]);
});

test.each([
  ["an unknown kty", { kty: "OKP", use: "x509-svid", crv: "Ed25519", x: "AAAA" }],
  ["an unknown use", authority({ use: "next-svid" })],
  ["no use", authority({ use: undefined })],
  ["no x5c", authority({ x5c: undefined })],
])("a key with %s is passed over", (_name, key) => {
  const { x509 } = valueOf(read({ keys: [key, authority()] }));

  expect(x509.authorities).toHaveLength(1);
});

test("of several certificates of one key the first counts", () => {
  const x5c = [shop.root.certificate.der, other.root.certificate.der].map(base64Of);

  const { x509 } = valueOf(read({ keys: [authority({ x5c })] }));

  expect(x509.authorities.map(({ sha256 }) => sha256)).toEqual([shop.root.certificate.sha256]);
});

test("keys for JWT-SVIDs are no keys for WIT-SVIDs, and RSA keys are read", () => {
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey;

  const { jwtKeys, witKeys } = valueOf(
    read({
      keys: [jwk(rsa, { use: "jwt-svid", kid: "r" }), jwk(tokenKey, { use: "wit-svid", kid: "w" })],
    }),
  );

  expect([[...jwtKeys.keys()], [...witKeys.keys()]]).toEqual([["r"], ["w"]]);
});

test.each([
  ["a list", [], "not-a-bundle"],
  ["no keys", {}, "not-a-bundle"],
  ["a key without kty", { keys: [{ use: "x509-svid" }] }, "malformed-key"],
  ["an authority with a kid", { keys: [authority({ kid: "one" })] }, "malformed-key"],
  ["an empty x5c", { keys: [authority({ x5c: [] })] }, "malformed-key"],
  ["x5c in base64url", { keys: [authority({ x5c: ["-_-_"] })] }, "malformed-key"],
  ["a certificate that is none", { keys: [authority({ x5c: ["MAA="] })] }, "malformed-certificate"],
  [
    "a certificate of another key",
    { keys: [authority({ x5c: [base64Of(other.root.certificate.der)] })] },
    "malformed-key",
  ],
  ["a token key without kid", { keys: [jwk(tokenKey, { use: "jwt-svid" })] }, "malformed-key"],
  ["an empty kid", { keys: [jwk(tokenKey, { use: "wit-svid", kid: "" })] }, "malformed-key"],
  [
    "one kid twice",
    { keys: [1, 2].map(() => jwk(tokenKey, { use: "jwt-svid", kid: "one" })) },
    "duplicate-kid",
  ],
  [
    "a point off its curve",
    { keys: [jwk(tokenKey, { use: "jwt-svid", kid: "one", x: "AAAA" })] },
    "malformed-key",
  ],
  ["129 keys", { keys: Array.from({ length: 129 }, () => ({ kty: "none" })) }, "too-many-keys"],
  ["33 authorities", { keys: Array.from({ length: 33 }, () => authority()) }, "too-many-authorities"],
  ["a sequence in text", { keys: [], spiffe_sequence: "12" }, "bad-sequence"],
  ["a sequence below none", { keys: [], spiffe_sequence: -1 }, "bad-sequence"],
  ["a refresh hint that is no integer", { keys: [], spiffe_refresh_hint: 1.5 }, "bad-refresh-hint"],
  ["64 KiB and more", { keys: [], more: "x".repeat(65_536) }, "too-large"],
])("a bundle with %s is refused: %s", (_name, json, reason) => {
  expect(read(json)).toMatchObject({ ok: false, reason });
});

test("a bundle that names its keys twice is refused, whatever a JSON parser would take", () => {
  const text = '{"keys":[],"keys":[]}';

  expect(parseSpiffeBundle(shop.trustDomain, text)).toMatchObject({ ok: false, reason: "duplicate-key" });
});

test("an authority that is none refuses the bundle", () => {
  const leaf = generateP256();
  const key = jwk(leaf.publicKey, { use: "x509-svid", x5c: [base64Of(shop.root.certificate.der)] });

  expect(read({ keys: [key] })).toMatchObject({ ok: false, reason: "malformed-key" });
});

test("a sequence has 64 bits and not one more", () => {
  const withSequence = (text: string): ReturnType<typeof parseSpiffeBundle> =>
    parseSpiffeBundle(shop.trustDomain, `{"keys":[],"spiffe_sequence":${text}}`);

  expect(withSequence("18446744073709551615")).toMatchObject({
    ok: true,
    value: { sequence: 2n ** 64n - 1n },
  });
  expect(withSequence("18446744073709551616")).toMatchObject({ ok: false, reason: "bad-sequence" });
  const written = writeSpiffeBundle(valueOf(withSequence("18446744073709551615")));
  expect(written).toContain('"spiffe_sequence":18446744073709551615');
});

test("a map of bundles is read as a whole, each for its own trust domain, without refresh hints", () => {
  const map = valueOf(
    parseSpiffeBundleMap(
      writeSpiffeBundleMap([bundle, { ...bundle, trustDomain: other.trustDomain, x509: other.bundle }]),
    ),
  );

  expect([...map.keys()]).toEqual(["other.example", "shop.example"]);
  expect(map.get(other.trustDomain)?.x509.authorities[0]?.sha256).toBe(other.root.certificate.sha256);
  expect(map.get(shop.trustDomain)?.refreshHintSeconds).toBeUndefined();
});

test.each([
  ["two bundles for one trust domain", '{"a":{"keys":[]},"a":{"keys":[]}}', "duplicate-key"],
  ["a trust domain in capitals", '{"A":{"keys":[]}}', "bad-trust-domain"],
  ["one bundle that is none", '{"a":{"keys":[]},"b":{}}', "not-a-bundle"],
])("a map with %s is refused: %s", (_name, domains, reason) => {
  expect(parseSpiffeBundleMap(`{"trust_domains":${domains}}`)).toMatchObject({ ok: false, reason });
});

test("nothing that is said instead of a bundle makes the reader throw", () => {
  const text = writeSpiffeBundle(bundle);
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.string({ maxLength: 4 }), fc.nat(3), (at, inserted, cut) => {
      const broken = text.slice(0, at) + inserted + text.slice(at + cut);

      expect(typeof parseSpiffeBundle(shop.trustDomain, broken).ok).toBe("boolean");
    }),
  );
});
