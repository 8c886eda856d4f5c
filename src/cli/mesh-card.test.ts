import { expect, it, test } from "vitest";
import { formatMeshCard, parseMeshCard } from "./mesh-card.ts";

const card = {
  trustDomain: "shop.example",
  address: "192.0.2.1:7443",
  genesis: "Z2VuZXNpcw==",
  logKey: "a+b+c",
};

it("reads what it writes, in one line and without what was not asked for", () => {
  const domain = { ...card, operator: "shop.example/operator/founder" };

  const text = formatMeshCard(domain);

  expect(text).toMatch(/^troth-mesh-1\.[A-Za-z0-9_-]+$/);
  expect(parseMeshCard(text)).toEqual({ ok: true, value: card });
});

test.each([
  ["something else", "hello"],
  ["a join token", "troth-join-1.e30"],
  ["half of one", formatMeshCard(card).slice(0, -7)],
  ["one without a field", `troth-mesh-1.${Buffer.from('{"address":"a:1"}').toString("base64url")}`],
  ["one without an end", `troth-mesh-1.${"A".repeat(5_000)}`],
])("refuses %s", (_what, text) => {
  expect(parseMeshCard(text)).toMatchObject({ ok: false, reason: "malformed-card" });
});
