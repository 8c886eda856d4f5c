import { expect, it } from "vitest";
import { SmallTrustLog } from "../../test/fakes/small-trust-log.ts";
import type { EntryBody } from "./entry-kinds.ts";
import { requestTokenPolicyOf } from "./request-token-policy.ts";

const window = { pastSeconds: 5, futureSeconds: 1 };

function logWith(...bodies: readonly EntryBody<"requesttoken.put">[]): SmallTrustLog {
  const log = new SmallTrustLog();
  for (const body of bodies) log.put("requesttoken.put", body);
  return log;
}

it("asks for no request tokens where no entry speaks of the service", () => {
  const { state } = logWith({ to: "/bank/*", mode: "granted" });

  expect(requestTokenPolicyOf(state, "/shop/web")).toEqual({
    mode: "off",
    window: { pastSeconds: 30, futureSeconds: 5 },
    to: "",
  });
  expect(requestTokenPolicyOf(new SmallTrustLog().state, "/shop/web").mode).toBe("off");
});

it.each([
  ["/shop/web/admin", "/shop/web/admin"],
  ["/shop/web/other", "/shop/web/*"],
  ["/shop/web", "/shop/*"],
  ["/shop/webshop", "/shop/*"],
  ["/shop", "/*"],
  ["/bank/clerk", "/*"],
])("goes for %s by the most specific pattern, %s", (service, to) => {
  const { state } = logWith(
    { to: "/*", mode: "granted" },
    { to: "/shop/web/admin", mode: "off" },
    { to: "/shop/*", mode: "per-request" },
    { to: "/shop/web/*", mode: "granted", window },
  );

  expect(requestTokenPolicyOf(state, service).to).toBe(to);
});

it("takes the window from the entry that it goes by", () => {
  const { state } = logWith({ to: "/*", mode: "granted", window }, { to: "/shop", mode: "granted" });

  expect(requestTokenPolicyOf(state, "/bank").window).toEqual(window);
  expect(requestTokenPolicyOf(state, "/shop").window).toEqual({ pastSeconds: 30, futureSeconds: 5 });
});

it("replaces an entry for the same pattern, and removes it", () => {
  const log = logWith({ to: "/shop", mode: "granted" }, { to: "/shop", mode: "off" });
  expect(requestTokenPolicyOf(log.state, "/shop").mode).toBe("off");

  log.put("requesttoken.remove", { to: "/shop" });

  expect(log.state.requestTokens.size).toBe(0);
  expect(log.order(log.entry("requesttoken.remove", { to: "/shop" }))).toMatchObject({
    value: { hasEffect: false, reason: "conflict" },
  });
});

it.each([
  ["a mode that there is not", { to: "/*", mode: "sometimes" }],
  ["no window at all", { to: "/*", mode: "granted", window: {} }],
  ["a window without a past", { to: "/*", mode: "granted", window: { pastSeconds: 0, futureSeconds: 1 } }],
  [
    "a window longer than nonces are kept",
    { to: "/*", mode: "granted", window: { pastSeconds: 121, futureSeconds: 1 } },
  ],
  ["a window far ahead", { to: "/*", mode: "granted", window: { pastSeconds: 1, futureSeconds: 61 } }],
  ["what is no pattern", { to: "shop", mode: "granted" }],
])("refuses %s", (_, body) => {
  const log = new SmallTrustLog();

  expect(log.order(log.entry("requesttoken.put", body))).toMatchObject({
    value: { hasEffect: false, reason: "malformed-body" },
  });
});

it("takes neither kind from anybody but an operator", () => {
  const log = new SmallTrustLog();
  for (const kind of ["requesttoken.put", "requesttoken.remove"])
    expect(log.state.authority.get(kind)).toEqual({ role: "operator", signatures: 1, approvals: 0 });
});
