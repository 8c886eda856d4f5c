import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "..");
const page = readFileSync(join(root, "docs", "limits.md"), "utf8");
const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter(
  (file) => file.endsWith(".ts") && !file.endsWith(".test.ts") && !/generated|^demo|for-tests/.test(file),
);
/** Constants of a module that bound something; their names say so. */
const limitPattern = /^(?:export )?const (?<name>[a-z][A-Za-z]*(?:Max|TimeoutMillis|DelayMillis))\b/gm;

it("docs/limits.md names every limit that a module has", () => {
  const missing = sources.flatMap((file) => {
    const text = readFileSync(join(root, "src", file), "utf8");
    return [...text.matchAll(limitPattern)]
      .map((match) => match.groups?.["name"] ?? "")
      .filter((name) => !page.includes(name))
      .map((name) => `${name} in ${file}`);
  });

  expect(missing).toEqual([]);
});
