import { expect, it } from "vitest";
import { blockOf, tableOf } from "./output.ts";
import { printable } from "./printable.ts";

it("keeps columns apart whatever is in the cells", () => {
  const table = tableOf(
    ["NAME", "WHAT"],
    [
      ["a", "x"],
      ["支払い", "y"],
      ["é", "z"],
      ["e\u0301", "decomposed"],
      ["🙂", "w"],
      ["a name that is longer than all others", ""],
    ],
  );

  expect(table).toBe(
    `NAME${" ".repeat(36)}WHAT
a${" ".repeat(39)}x
支払い${" ".repeat(34)}y
é${" ".repeat(39)}z
e\u0301${" ".repeat(39)}decomposed
🙂${" ".repeat(38)}w
a name that is longer than all others
`,
  );
});

it("keeps a cell on its line, and what would move the cursor out of it", () => {
  expect(tableOf(["A", "B"], [["one\ntwo", "\u001b[2Jgone\u202E"]])).toBe(
    "A         B\none two   \\u{1b}[2Jgone\\u{202e}\n",
  );
  expect(printable("tab\tand\rreturn")).toBe("tab and\\u{d}return");
});

it("aligns the values of a block, those of several lines under the first", () => {
  const block = blockOf([
    ["Service", "/shop/web"],
    ["May call", ["/a", "/b"]],
    ["Team", ""],
    ["Labels", []],
  ]);

  expect(block).toBe("Service  : /shop/web\nMay call : /a\n           /b\nTeam     : -\nLabels   : -\n");
});
