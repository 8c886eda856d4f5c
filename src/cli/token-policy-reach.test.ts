import { expect, test } from "vitest";
import { SmallTrustLog, serviceBody } from "../../test/fakes/small-trust-log.ts";
import { tokenPolicyReach } from "./token-policy-reach.ts";

const log = new SmallTrustLog();
for (const name of ["/media/player", "/shop/ledger"]) log.put("service.put", serviceBody(name));
const granted = { depthMax: 1, mayDelegate: false, notAfterSeconds: 0 };
for (const prefix of ["/media/video", "/news", "/press/a", "/press/b"])
  log.put("prefix.grant", { ...granted, prefix, holder: "/media/player" });

const instead =
  "what is asked for under it goes by the policy of /media/player: troth token policy /media/player MODE";

test.each([
  ["/shop/ledger", ""],
  ["/*", ""],
  ["/media/*", ""],
  ["/news/*", ""],
  ["/shop/nowhere", "/shop/nowhere is not registered (yet)"],
  [
    "/news/live",
    `/news/live is not registered (yet), and lies under the prefix /news, which /media/player holds; ${instead}`,
  ],
  [
    "/press/*",
    "the policy of its holder counts for a prefix: this one does not for /press/a, which /media/player holds and 1 more",
  ],
])("notes of a policy for %s: %s", (to, note) => {
  expect(tokenPolicyReach(log.state, to)).toEqual({ ok: true, value: note });
});

test.each(["/media/video", "/news"])("refuses a policy for %s, which no service is called", (to) => {
  expect(tokenPolicyReach(log.state, to)).toEqual({
    ok: false,
    reason: "prefix-only",
    detail: `${to} is a prefix that /media/player holds; ${instead}`,
  });
});
