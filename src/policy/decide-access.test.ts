import { expect, it } from "vitest";
import { type AccessRule, decideAccess, decideAnyAccess, decideTcpAccess } from "./index.ts";

const allow = (from: string, to: string, more: Partial<AccessRule> = {}): AccessRule => ({
  from,
  to,
  effect: "allow",
  methods: [],
  paths: [],
  ...more,
});
const deny = (from: string, to: string, more: Partial<AccessRule> = {}): AccessRule => ({
  ...allow(from, to, more),
  effect: "deny",
});
const request = { from: "/shop/web", to: "/shop/checkout", method: "GET", path: "/orders/1" };

it.each([
  ["nothing is said", [], "deny", "no-rule"],
  ["the pair is allowed", [allow("/shop/web", "/shop/checkout")], "allow", "rule-allows"],
  ["only the other direction is allowed", [allow("/shop/checkout", "/shop/web")], "deny", "no-rule"],
  [
    "everything below the caller's prefix is allowed",
    [allow("/shop/*", "/shop/checkout")],
    "allow",
    "rule-allows",
  ],
  ["everybody is allowed", [allow("/*", "/*")], "allow", "rule-allows"],
  ["a prefix that only looks alike is allowed", [allow("/sho/*", "/shop/checkout")], "deny", "no-rule"],
  [
    "a deny stands beside an allow",
    [allow("/shop/web", "/shop/checkout"), deny("/shop/*", "/shop/*")],
    "deny",
    "rule-denies",
  ],
  [
    "the deny is for another method",
    [allow("/shop/web", "/shop/checkout"), deny("/shop/*", "/*", { methods: ["POST"] })],
    "allow",
    "rule-allows",
  ],
  [
    "the method is not among the allowed",
    [allow("/shop/web", "/shop/checkout", { methods: ["POST"] })],
    "deny",
    "no-rule",
  ],
  [
    "the path is below an allowed one",
    [allow("/shop/web", "/shop/checkout", { paths: ["/orders"] })],
    "allow",
    "rule-allows",
  ],
  [
    "the path only begins alike",
    [allow("/shop/web", "/shop/checkout", { paths: ["/order"] })],
    "deny",
    "no-rule",
  ],
  [
    "the root path is allowed",
    [allow("/shop/web", "/shop/checkout", { paths: ["/"] })],
    "allow",
    "rule-allows",
  ],
  [
    "the path is exactly the allowed one",
    [allow("/shop/web", "/shop/checkout", { paths: ["/orders/1"] })],
    "allow",
    "rule-allows",
  ],
] as const)("when %s", (_, rules, effect, reason) => {
  const decision = decideAccess(rules, request);

  expect(decision.effect).toBe(effect);
  expect(decision.reason).toBe(reason);
});

it("a pattern for all below a name does not cover the name itself", () => {
  expect(decideAccess([allow("/shop/web/*", "/*")], request).effect).toBe("deny");
});

it("names the same rule whatever the order", () => {
  const rules = [allow("/shop/web", "/shop/checkout"), allow("/*", "/*"), allow("/shop/*", "/shop/*")];

  expect(decideAccess(rules, request).rule).toBe("/* /*");
  expect(decideAccess(rules.toReversed(), request).rule).toBe("/* /*");
});

const connection = { from: "/shop/web", to: "/shop/db" };

it.each([
  ["nothing is said", [], "deny", "no-rule", ""],
  ["the pair is allowed", [allow("/shop/web", "/shop/db")], "allow", "rule-allows", "/shop/web /shop/db"],
  [
    "a deny stands beside an allow",
    [allow("/shop/web", "/shop/db"), deny("/shop/*", "/*")],
    "deny",
    "rule-denies",
    "/shop/* /*",
  ],
  ["only another caller is allowed", [allow("/shop/orders", "/shop/db")], "deny", "no-rule", ""],
  ["only another service is allowed", [allow("/shop/web", "/shop/queue")], "deny", "no-rule", ""],
  [
    "only some methods are allowed",
    [allow("/shop/web", "/*", { methods: ["CONNECT"] })],
    "deny",
    "only-requests-allowed",
    "/shop/web /*",
  ],
  [
    "only some paths are allowed",
    [allow("/shop/web", "/*", { paths: ["/"] })],
    "deny",
    "only-requests-allowed",
    "/shop/web /*",
  ],
  [
    "some methods are denied and the pair is allowed",
    [allow("/shop/web", "/shop/db"), deny("/shop/web", "/*", { methods: ["DELETE"] })],
    "deny",
    "request-rule-denies",
    "/shop/web /*",
  ],
  [
    "some paths are denied and the pair is allowed",
    [allow("/shop/web", "/shop/db"), deny("/*", "/*", { paths: ["/admin"] })],
    "deny",
    "request-rule-denies",
    "/* /*",
  ],
  [
    "a deny of everything stands beside one of some methods",
    [deny("/*", "/*", { methods: ["GET"] }), deny("/shop/web", "/shop/db")],
    "deny",
    "rule-denies",
    "/shop/web /shop/db",
  ],
] as const)("for a TCP connection, when %s", (_, rules, ...expected) => {
  const [effect, reason, rule] = expected;
  expect(decideTcpAccess(rules, connection)).toEqual({ effect, reason, rule });
  expect(decideTcpAccess(rules.toReversed(), connection)).toEqual({ effect, reason, rule });
});

it.each([
  ["everybody is allowed", [allow("/*", "/*")], "no-rule"],
  ["a service of its path is allowed", [allow("/shop/web", "/shop/db")], "no-rule"],
  ["its SPIFFE ID is allowed", [allow("spiffe://other.example/shop/web", "/shop/db")], "rule-allows"],
  ["its trust domain is allowed", [allow("spiffe://other.example/*", "/shop/*")], "rule-allows"],
  ["a trust domain that begins alike is allowed", [allow("spiffe://other.exam/*", "/*")], "no-rule"],
  [
    "everybody is denied",
    [allow("spiffe://other.example/*", "/shop/db"), deny("/*", "/shop/db")],
    "rule-denies",
  ],
  [
    "all services below a prefix are denied",
    [allow("spiffe://other.example/*", "/shop/db"), deny("/shop/*", "/shop/db")],
    "rule-allows",
  ],
] as const)("for a caller of another trust domain, when %s", (_, rules, reason) => {
  const from = "spiffe://other.example/shop/web";

  expect(decideAccess(rules, { ...request, from, to: "/shop/db" }).reason).toBe(reason);
  expect(decideTcpAccess(rules, { from, to: "/shop/db" }).reason).toBe(reason);
  expect(decideAnyAccess(rules, { from, to: "/shop/db" }).reason).toBe(reason);
});

it.each([
  ["nothing is said", [], "deny", "no-rule"],
  ["another pair is allowed", [allow("/shop/checkout", "/shop/web")], "deny", "no-rule"],
  ["the pair is allowed", [allow("/shop/web", "/shop/checkout")], "allow", "rule-allows"],
  [
    "some requests are allowed",
    [allow("/shop/web", "/shop/checkout", { paths: ["/orders"] })],
    "allow",
    "rule-allows",
  ],
  [
    "some requests are denied",
    [allow("/shop/web", "/shop/*"), deny("/shop/web", "/*", { methods: ["POST"] })],
    "allow",
    "rule-allows",
  ],
  ["everything is denied", [allow("/shop/web", "/*"), deny("/shop/web", "/shop/*")], "deny", "rule-denies"],
] as const)("of a pair of services, where %s: %#", (_, rules, effect, reason) => {
  expect(decideAnyAccess(rules, { from: "/shop/web", to: "/shop/checkout" })).toMatchObject({
    effect,
    reason,
  });
});
