import { expect, test } from "vitest";
import { forge, leafExtensions, testDomain } from "./svid-for-tests.ts";
import { parseTrustBundle } from "./trust-bundle.ts";

const shop = testDomain("shop.example");
const root = shop.root.certificate.der;

test("a bundle holds the CA certificates it was given, or none", () => {
  expect(parseTrustBundle(shop.trustDomain, [root])).toMatchObject({
    ok: true,
    value: { trustDomain: "shop.example", authorities: [{ sha256: shop.root.certificate.sha256 }] },
  });
  expect(parseTrustBundle(shop.trustDomain, [])).toMatchObject({ ok: true, value: { authorities: [] } });
});

test.each([
  [
    "a workload's certificate",
    [forge(shop.root, { extensions: leafExtensions(shop.root, "spiffe://a/b") })],
    "not-an-authority",
  ],
  ["bytes that are no certificate", [Uint8Array.of(0x30, 0)], "malformed-certificate"],
  ["33 certificates", Array.from({ length: 33 }, () => root), "too-many-authorities"],
])("a bundle of %s is refused: %s", (_name, certificates, reason) => {
  expect(parseTrustBundle(shop.trustDomain, certificates)).toMatchObject({ ok: false, reason });
});
