import fc from "fast-check";
import { expect, it } from "vitest";
import { hexOf } from "../base/bytes.ts";
import {
  type ClientKeyBinding,
  deriveAudienceKey,
  deriveClientKey,
  importRequestTokenKey,
  keyPeriodAt,
  keyPeriodMillis,
  keyPeriodStartsMillis,
  requestDigest,
} from "./index.ts";
import { lengthPrefixed, writeLengthPrefixed } from "./length-prefixed.ts";

const root = importRequestTokenKey(new Uint8Array(32).fill(1));
const binding: ClientKeyBinding = {
  mode: "granted",
  destination: "/shop/pay",
  certificateFingerprint: new Uint8Array(32).fill(2),
  spiffeId: "spiffe://shop.example/shop/cart",
};

it("derives another audience key for another root, key period or audience", () => {
  const otherRoot = importRequestTokenKey(new Uint8Array(32).fill(9));
  const keys = [
    deriveAudienceKey(root, 7, "a/b"),
    deriveAudienceKey(otherRoot, 7, "a/b"),
    deriveAudienceKey(root, 8, "a/b"),
    deriveAudienceKey(root, 7, "a/c"),
  ];

  expect(new Set(keys.map((key) => hexOf(key.export()))).size).toBe(keys.length);
});

it("derives another client key for another mode, destination, certificate, SPIFFE ID or audience key", () => {
  const audienceKey = deriveAudienceKey(root, 7, "a/b");
  const keys = [
    deriveClientKey(audienceKey, binding),
    deriveClientKey(audienceKey, { ...binding, mode: "per-request" }),
    deriveClientKey(audienceKey, { ...binding, destination: "/shop/pay2" }),
    deriveClientKey(audienceKey, { ...binding, certificateFingerprint: new Uint8Array(32).fill(3) }),
    deriveClientKey(audienceKey, { ...binding, spiffeId: "spiffe://shop.example/shop/carts" }),
    deriveClientKey(deriveAudienceKey(root, 8, "a/b"), binding),
  ];

  expect(new Set(keys.map((key) => hexOf(key.export()))).size).toBe(keys.length);
});

it("takes no key of another length", () => {
  expect(() => importRequestTokenKey(new Uint8Array(31))).toThrow(RangeError);
});

it("begins a key period with its first millisecond and ends it with the one before the next", () => {
  const first = keyPeriodStartsMillis(3_000_000);

  expect([first - 1, first, first + keyPeriodMillis - 1, first + keyPeriodMillis].map(keyPeriodAt)).toEqual([
    2_999_999, 3_000_000, 3_000_000, 3_000_001,
  ]);
});

it("prefixes texts so that no two lists of them are written alike", () => {
  const texts = fc.array(fc.string({ unit: "grapheme", maxLength: 6 }), { minLength: 2, maxLength: 2 });
  fc.assert(
    fc.property(texts, texts, (left, right) => {
      const same = left.join("\u0001") === right.join("\u0001");
      expect(lengthPrefixed(...left).equals(lengthPrefixed(...right))).toBe(same);
    }),
  );
  expect(lengthPrefixed("a", "bc").equals(lengthPrefixed("ab", "c"))).toBe(false);
});

it("writes a text in place as it does alone", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.nat(20), (text, offset) => {
      const target = Buffer.alloc(200);
      const end = writeLengthPrefixed(target, text, offset);
      expect(target.subarray(offset, end).equals(lengthPrefixed(text))).toBe(true);
    }),
  );
});

it("digests requests that differ in any part, of whatever length, to different values", () => {
  const request = { method: "GET", destination: "/a", path: "/b", contentDigest: "" };
  const long = "x".repeat(100_000);
  const digests = [
    request,
    { ...request, method: "PUT" },
    { ...request, destination: "/a/b", path: "" },
    { ...request, path: "/b?" },
    { ...request, contentDigest: "sha-256=:x:" },
    { ...request, path: long },
    { ...request, path: `${long}x` },
    { ...request, path: "", contentDigest: "/b" },
  ].map((one) => hexOf(requestDigest(one)));

  expect(new Set(digests).size).toBe(digests.length);
});
