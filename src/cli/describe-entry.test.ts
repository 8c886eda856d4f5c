import { expect, it } from "vitest";
import { entryBodies } from "../trust-log/index.ts";
import { describeEntry } from "./describe-entry.ts";

it.each([
  [
    "rule.put",
    { from: "/a", to: "/b", effect: "allow", methods: ["GET"], paths: ["/x"] },
    "/a may call /b: GET /x",
  ],
  ["rule.put", { from: "/a", to: "/b", effect: "deny", methods: [], paths: [] }, "/a may not call /b"],
  ["service.put", { name: "/a", dataClass: "public", nodes: ["*"] }, "/a is a service: public, on any node"],
  ["epoch", { number: 7, timeSeconds: 1_800_000_000 }, "epoch 7 begins, 2027-01-15T08:00:00Z"],
  [
    "authority.put",
    { kinds: ["rule.put"], grant: { role: "operator", signatures: 2, approvals: 1 } },
    "rule.put takes 2 signatures of the role operator and 1 approval",
  ],
  [
    "requesttoken.put",
    { to: "/*", mode: "granted", window: { pastSeconds: 5, futureSeconds: 1 } },
    "requests to /* carry request tokens, granted, at most 5 s old and 1 s ahead",
  ],
  ["requesttoken.put", { to: "/a", mode: "per-request" }, "requests to /a carry request tokens, per-request"],
  ["requesttoken.put", { to: "/a", mode: "off" }, "requests to /a carry no request tokens"],
  ["toString", { a: 1 }, '{"a":1}'],
  ["unheard.of", { name: "x".repeat(200) }, `{"name":"${"x".repeat(111)}…`],
])("says of %s %j: %s", (kind, body, words) => {
  expect(describeEntry(kind, body)).toBe(words);
});

it("has words for every kind of entry, whatever is missing in it", () => {
  for (const kind of Object.keys(entryBodies)) expect(describeEntry(kind, {})).not.toBe("{}");
});
