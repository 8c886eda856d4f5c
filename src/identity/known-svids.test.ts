import { expect, test } from "vitest";
import { generateP256 } from "../crypto/index.ts";
import { createIntermediate } from "./certificate-authority.ts";
import { KnownSvids, knownSvidsMax } from "./known-svids.ts";
import {
  forge,
  leafExtensions,
  testDomain,
  testNowSeconds,
  testSvid,
  testWorld,
  valueOf,
} from "./svid-for-tests.ts";
import { parseTrustBundle, type TrustBundles, trustBundlesOf } from "./trust-bundle.ts";

const shop = testDomain("shop.example");
const bank = testDomain("bank.example");
const bundles = trustBundlesOf(shop.bundle);
const id = "spiffe://shop.example/shop/payments";
const issuers = shop.issuer.presentedIssuers;
const good = testSvid(shop.issuer, id);

test("an SVID that passed passes again without its issuers, so without a signature check", () => {
  const known = new KnownSvids();

  const first = ask(known, good.chain);
  const second = ask(known, good.chain.slice(0, 1));

  expect([first.reason, second.reason]).toEqual(["accepted", "accepted"]);
  expect([first.chainsRead, second.chainsRead]).toEqual([1, 0]);
  expect(second.svid).toBe(first.svid);
});

test("a refusal is not remembered, nor does it become an acceptance by being asked twice", () => {
  const known = new KnownSvids();

  const reasons = [good.chain.slice(0, 1), good.chain.slice(0, 1), good.chain].map(
    (chain) => ask(known, chain).reason,
  );

  expect(reasons).toEqual(["untrusted-issuer", "untrusted-issuer", "accepted"]);
});

test("no certificate is refused, also when others are known", () => {
  const known = new KnownSvids();
  ask(known, good.chain);

  expect(ask(known, []).reason).toBe("no-certificate");
});

test("a known SVID is refused from the second after its last: expired", () => {
  const known = new KnownSvids();
  ask(known, good.chain);

  expect(ask(known, good.chain, good.notAfterSeconds).reason).toBe("accepted");
  expect(ask(known, good.chain, good.notAfterSeconds + 0.999).reason).toBe("accepted");
  expect(ask(known, good.chain, good.notAfterSeconds + 1).reason).toBe("expired");
});

test("a known SVID is refused when the clock goes back before its first second: not-yet-valid", () => {
  const known = new KnownSvids();
  ask(known, good.chain);

  expect(ask(known, good.chain, good.notBeforeSeconds).reason).toBe("accepted");
  expect(ask(known, good.chain, good.notBeforeSeconds - 1).reason).toBe("not-yet-valid");
});

test("a known SVID is refused outside of the times of a CA above it: expired, not-yet-valid", () => {
  const known = new KnownSvids();
  const request = { privateKey: generateP256().privateKey, lifetimeSeconds: 60 };
  const brief = createIntermediate(shop.root, request, testWorld());
  const { notBeforeSeconds, notAfterSeconds } = brief.certificate;
  const leaf = forge(brief, {
    extensions: leafExtensions(brief, id),
    notBeforeSeconds: notBeforeSeconds - 10,
    notAfterSeconds: notAfterSeconds + 10,
  });
  const at = (seconds: number): string => ask(known, [leaf, ...brief.presentedIssuers], seconds).reason;

  expect([testNowSeconds, notBeforeSeconds, notAfterSeconds].map(at)).toEqual(Array(3).fill("accepted"));
  expect(at(notAfterSeconds + 1)).toBe("expired");
  expect(at(notBeforeSeconds - 1)).toBe("not-yet-valid");
});

test("a known SVID is refused under bundles without its root, and checked anew under those that have it again", () => {
  const known = new KnownSvids();
  const other = testDomain("shop.example");
  ask(known, good.chain);

  expect(ask(known, good.chain, testNowSeconds, trustBundlesOf(bank.bundle)).reason).toBe(
    "unknown-trust-domain",
  );
  expect(ask(known, good.chain, testNowSeconds, trustBundlesOf(other.bundle)).reason).toBe(
    "untrusted-issuer",
  );
  expect(ask(known, good.chain).chainsRead).toBe(1);
});

test("what is known of one root does not count under another of the same name", () => {
  const known = new KnownSvids();
  const empty = valueOf(parseTrustBundle(shop.trustDomain, []));
  ask(known, good.chain);

  expect(ask(known, good.chain, testNowSeconds, trustBundlesOf(empty)).reason).toBe("unknown-trust-domain");
});

test("a known SVID with any one byte changed is not known", () => {
  const known = new KnownSvids();
  ask(known, good.chain);
  const [leaf = new Uint8Array(0)] = good.chain;

  for (let place = 0; place < leaf.byteLength; place += 1) {
    const changed = leaf.with(place, (leaf[place] ?? 0) ^ 1);
    const asked = ask(known, [changed, ...issuers]);
    expect([asked.chainsRead, asked.reason === "accepted"]).toEqual([1, false]);
  }
});

test("no more than so many are remembered, and the first makes room", () => {
  const known = new KnownSvids();
  const keys = generateP256();
  const first = testSvid(shop.issuer, id, keys).chain;
  ask(known, first);
  for (let count = 1; count < knownSvidsMax; count += 1)
    ask(known, [forge(shop.issuer, { extensions: leafExtensions(shop.issuer, id) }, keys), ...issuers]);
  const before = ask(known, first);

  ask(known, good.chain);

  expect([before.chainsRead, ask(known, good.chain).chainsRead, ask(known, first).chainsRead]).toEqual([
    0, 0, 1,
  ]);
});

function ask(
  known: KnownSvids,
  chain: readonly Uint8Array[],
  nowSeconds = testNowSeconds,
  trusted: TrustBundles = bundles,
): { readonly reason: string; readonly chainsRead: number; readonly svid: unknown } {
  let chainsRead = 0;
  const read = (): readonly Uint8Array[] => {
    chainsRead += 1;
    return chain;
  };
  const outcome = known.check({ leaf: chain[0], chain: read }, trusted, nowSeconds);
  return outcome.ok
    ? { reason: "accepted", chainsRead, svid: outcome.value }
    : { reason: outcome.reason, chainsRead, svid: undefined };
}
