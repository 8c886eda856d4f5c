import { expect, it } from "vitest";
import { SmallTrustLog } from "../../test/fakes/small-trust-log.ts";
import { hostOfRemote } from "./apply-federation.ts";

function federatedWith(...domains: readonly string[]): SmallTrustLog {
  const log = new SmallTrustLog();
  for (const trustDomain of domains)
    log.put("federation.put", { trustDomain, url: "https://192.0.2.1/", profile: "https_web" });
  return log;
}

function refusal(log: SmallTrustLog, trustDomain: string, service: string): string {
  const outcome = log.order(log.entry("remote.put", { trustDomain, service, addresses: ["192.0.2.1:1"] }));
  if (!outcome.ok) return outcome.reason;
  return outcome.value.hasEffect ? "none" : outcome.value.detail;
}

it("calls a service of another trust domain by its segments reversed and the trust domain", () => {
  expect(hostOfRemote("spiffe://other.example/shop/payments")).toBe("payments.shop.other.example");
});

it("gives one name to one service only", () => {
  const log = federatedWith("example", "other.example");

  expect(refusal(log, "other.example", "/shop")).toBe("none");
  expect(refusal(log, "example", "/other/shop")).toBe(
    "spiffe://other.example/shop goes by the name shop.other.example too",
  );
  // Replacing what is there is no collision.
  expect(refusal(log, "other.example", "/shop")).toBe("none");
});

it("gives no service of another trust domain a name that one of this trust domain could have", () => {
  const log = federatedWith("other.mesh", "mesh", "not-mesh");

  expect(["other.mesh", "mesh"].map((domain) => refusal(log, domain, "/shop"))).toEqual(
    Array.from({ length: 2 }, () => "names that end in .mesh are those of this trust domain's own services"),
  );
  expect(refusal(log, "not-mesh", "/shop")).toBe("none");
});
