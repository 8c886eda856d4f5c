import { expect, it } from "vitest";
import { nearestWord } from "./nearest-word.ts";

it.each([
  ["alow", "allow"],
  ["ALLOW", "allow"],
  ["dney", "deny"],
  ["den", "deny"],
  ["permit", undefined],
  ["", undefined],
])("takes %s for %s", (word, meant) => {
  expect(nearestWord(word, ["allow", "deny"])).toBe(meant);
});
