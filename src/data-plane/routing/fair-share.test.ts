import fc from "fast-check";
import { expect, it, test } from "vitest";
import { fairShare } from "./fair-share.ts";

interface Item {
  readonly party: string;
}

function itemsOf(parties: string): Item[] {
  return parties.split("").map((party) => ({ party }));
}

const shareOf = (items: readonly Item[], places: number): string =>
  fairShare(items, places, ({ party }) => party)
    .map(({ party }) => party)
    .join("");

test.each([
  ["aaab", 4, "aaab"],
  ["aaaaaaab", 4, "aaab"],
  ["aaaaabbbbbc", 7, "aaabbbc"],
  ["aaaabbbb", 5, "aabbb"],
  ["abcd", 2, "cd"],
  ["aaaa", 0, ""],
])("gives %s, for %i places, %s", (parties, places, expected) => {
  expect(shareOf(itemsOf(parties), places)).toBe(expected);
});

it("fills all places, and gives no party more than another that wants more, but for one", () => {
  const parties = fc.string({ unit: fc.constantFrom("a", "b", "c", "d"), maxLength: 60 });
  fc.assert(
    fc.property(parties, fc.nat(40), (text, places) => {
      const shared = shareOf(itemsOf(text), places);
      expect(shared).toHaveLength(Math.min(places, text.length));
      const count = (of: string, party: string): number => of.split(party).length - 1;
      const most = Math.max(...["a", "b", "c", "d"].map((party) => count(shared, party)));
      for (const party of "abcd")
        expect(count(shared, party)).toBeGreaterThanOrEqual(Math.min(count(text, party), most - 1));
    }),
  );
});
