import fc from "fast-check";
import { expect, it } from "vitest";
import { compareLines } from "./line-difference.ts";

const text = fc
  .array(fc.constantFrom("a", "b", "c"), { maxLength: 12 })
  .map((lines) => lines.map((line) => `${line}\n`).join(""));

it("shows both texts, each in its order", () => {
  fc.assert(
    fc.property(text, text, (before, after) => {
      const lines = compareLines(before, after);
      const side = (without: string): string =>
        lines
          .filter(({ mark }) => mark !== without)
          .map((line) => `${line.text}\n`)
          .join("");

      expect([side("+"), side("-")]).toEqual([before, after]);
    }),
  );
});

it("shows a changed line as removed and added, between those that stay", () => {
  const shown = compareLines("a\nb\nc\n", "a\nx\nc\n").map(({ mark, text }) => `${mark}${text}`);

  expect(shown).toEqual([" a", "-b", "+x", " c"]);
});

it("compares texts of any length in bounded memory", () => {
  const before = Array.from({ length: 5_000 }, (_, line) => `a${line}`).join("\n");
  const after = Array.from({ length: 5_000 }, (_, line) => `b${line}`).join("\n");

  expect(compareLines(before, after)).toHaveLength(10_000);
});
