import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { CheckReport, checkAnchors } from "./check-report.ts";

const guide = readFileSync(
  join(import.meta.dirname, "..", "..", "..", "docs", "guides", "troubleshooting.md"),
  "utf8",
);

const diskSpace = { category: "directory", anchor: "disk-space", description: "has room to write" } as const;

it.each(checkAnchors)("the guide has a section on %s", (anchor) => {
  expect(guide.split("\n")).toContain(`### ${anchor}`);
});

it("the guide has no section that no check leads to", () => {
  const sections = guide
    .split("\n")
    .flatMap((line) => /^### (?<anchor>.*)$/.exec(line)?.groups?.["anchor"] ?? []);

  expect(sections.sort()).toEqual([...checkAnchors].sort());
});

it("is a success with warnings and a failure with one error", async () => {
  const report = new CheckReport();
  await report.run(diskSpace, () => ({ error: "little", remedy: "free some", isWarning: true }));
  expect(report.isSuccess).toBe(true);

  await report.run(diskSpace, () => ({ error: "none", remedy: "free some", command: "rm x" }));

  expect(report.isSuccess).toBe(false);
  expect(report.text(false)).toContain(
    "× has room to write\n    none\n    remedy: free some\n        rm x\n    see docs/guides/troubleshooting.md#disk-space for hints\n",
  );
});

it("shows only what is not well in its short form", async () => {
  const report = new CheckReport();
  await report.run(diskSpace, () => undefined);
  await report.run({ ...diskSpace, anchor: "key-modes", description: "keys are closed" }, () => ({
    error: "open",
    remedy: "close it",
  }));

  const text = report.text(true);

  expect(text).not.toContain("has room to write");
  expect(text).toContain("× keys are closed");
  expect(report.text(false)).toContain("√ has room to write");
});

it("takes what a check throws for a failure", async () => {
  const report = new CheckReport();

  const isGood = await report.run(diskSpace, () => {
    throw new Error("no such file");
  });

  expect(isGood).toBe(false);
  expect(report.lines[0]?.finding?.error).toBe("no such file");
});

it("moves no cursor and writes no line of its own for what a node or a proxy said", async () => {
  const report = new CheckReport();
  const error = "alarm: edge-1: \u001b[2J\u009b1A\n√ all is well";

  await report.run(diskSpace, () => ({ error, remedy: "see troth status" }));

  expect(report.text(false)).toContain("    alarm: edge-1: \\u{1b}[2J\\u{9b}1A √ all is well\n    remedy");
});
