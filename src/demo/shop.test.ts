import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { demoRules, demoServices, demoTrustDomain } from "./index.ts";

describe("the story of the demo", () => {
  it("names each service once, with a script of this folder", () => {
    const names = demoServices.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const { script } of demoServices) expect(existsSync(new URL(script, import.meta.url))).toBe(true);
    expect(demoTrustDomain).toBe("shop.example");
  });

  it("calls what holds card data confidential", () => {
    const holding = demoServices.filter(({ labels }) => labels["holds"] === "card-data");
    expect(holding.map(({ name, dataClass }) => [name, dataClass])).toEqual([
      ["/shop/ledger", "confidential"],
      ["/shop/payments", "confidential"],
    ]);
  });

  it("has rules between its own services, each callee starting before its caller, and none for mallory", () => {
    const places = new Map(demoServices.map(({ name }, place) => [name, place]));
    for (const { from, to } of demoRules) {
      expect(places.get(to)).toBeLessThan(places.get(from) ?? -1);
      expect([from, to]).not.toContain("/shop/mallory");
    }
  });
});
