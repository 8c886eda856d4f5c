import { expect, it } from "vitest";
import { clockNote } from "./clock-note.ts";

it.each([
  [undefined, ""],
  [0, ""],
  [300, ""],
  [-300, ""],
  [600, "which is 10 min ahead of the trust log's epochs"],
  [86_400, "which is 24 h ahead of the trust log's epochs"],
  [-86_400, "which is 24 h behind the trust log's epochs"],
])("of %s seconds: %s", (aheadSeconds, note) => {
  expect(clockNote(aheadSeconds)).toBe(note);
});
