import fc from "fast-check";
import { expect, test } from "vitest";
import { checkSvid } from "./check-svid.ts";
import { testDomain, testNowSeconds, testSvid } from "./svid-for-tests.ts";
import { trustBundlesOf } from "./trust-bundle.ts";

const shop = testDomain("shop.example");
const bundles = trustBundlesOf(shop.bundle);
const { chain } = testSvid(shop.issuer, "spiffe://shop.example/shop/payments");
const [leaf = new Uint8Array(), issuer = new Uint8Array()] = chain;

test("a leaf with any one bit flipped is refused", () => {
  const accepted = flips(leaf).filter((flipped) => checkSvid([flipped, issuer], bundles, testNowSeconds).ok);

  expect(checkSvid(chain, bundles, testNowSeconds).ok).toBe(true);
  expect(accepted).toEqual([]);
});

test("an intermediate CA with any one bit flipped is refused", () => {
  const accepted = flips(issuer).filter((flipped) => checkSvid([leaf, flipped], bundles, testNowSeconds).ok);

  expect(accepted).toEqual([]);
});

test("a leaf with bytes put in, taken out or overwritten is refused", () => {
  const anywhere = fc.integer({ min: 0, max: leaf.byteLength - 1 });
  fc.assert(
    fc.property(anywhere, fc.nat(3), fc.uint8Array({ maxLength: 4 }), (start, removed, added) => {
      const edited = Uint8Array.of(...leaf.subarray(0, start), ...added, ...leaf.subarray(start + removed));
      fc.pre(!Buffer.from(edited).equals(leaf));
      return !checkSvid([edited, issuer], bundles, testNowSeconds).ok;
    }),
  );
});

test("no bytes make the check throw", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (presented) => {
      return !checkSvid(presented, bundles, testNowSeconds).ok;
    }),
  );
});

function flips(certificate: Uint8Array): readonly Uint8Array[] {
  return Array.from({ length: certificate.byteLength * 8 }, (_unused, bit) => {
    const flipped = Uint8Array.from(certificate);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    return flipped;
  });
}
