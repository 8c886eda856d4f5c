import { describe, expect, test } from "vitest";
import { bundleCases } from "../../test/apparatus/bundle-cases.ts";
import { spiffeIdCases } from "../../test/apparatus/spiffe-id-cases.ts";
import { svidCases } from "../../test/apparatus/svid-cases.ts";
import { checkSvid } from "./check-svid.ts";
import { parseSpiffeBundle } from "./spiffe-bundle.ts";
import { parseSpiffeId, parseTrustDomain } from "./spiffe-id.ts";
import { testNowSeconds, valueOf } from "./svid-for-tests.ts";
import { trustBundlesOf } from "./trust-bundle.ts";

describe("a SPIFFE ID", () => {
  test.each(spiffeIdCases())("$name: $verdict", ({ text, verdict }) => {
    const id = parseSpiffeId(text);

    expect(id.ok ? "accepted" : id.reason).toBe(verdict);
  });
});

describe("an X.509-SVID", () => {
  test.each(svidCases(testNowSeconds))("$name: $verdict", ({ chain, bundles, verdict }) => {
    const svid = checkSvid(chain, trustBundlesOf(...bundles), testNowSeconds);

    expect(svid.ok ? "accepted" : svid.reason).toBe(verdict);
  });
});

describe("a SPIFFE bundle", () => {
  const trustDomain = valueOf(parseTrustDomain("shop.example"));

  test.each(bundleCases())("$name: $verdict", ({ text, verdict }) => {
    const bundle = parseSpiffeBundle(trustDomain, text);

    expect(bundle.ok ? "accepted" : bundle.reason).toBe(verdict);
  });
});
