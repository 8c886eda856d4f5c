import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { z } from "zod";
import { entryBodies, isEntryKind } from "./entry-kinds.ts";
import { entryRevision, revisionOf } from "./entry-revision.ts";

const file = join(import.meta.dirname, "..", "..", "test", "peers", "previous-version", "entry-kinds.json");
const previous = z
  .object({ entryRevision: z.int(), kinds: z.record(z.string(), z.string()) })
  .parse(JSON.parse(readFileSync(file, "utf8")));

it("knows every kind of the previous version, whose entries are in logs", () => {
  expect(Object.keys(previous.kinds).filter((kind) => !isEntryKind(kind))).toEqual([]);
});

it("gives a later revision to what the previous version does not know or would not take, and to nothing else", () => {
  const changed = Object.entries(entryBodies)
    .filter(([kind, schema]) => digestOf(schema) !== previous.kinds[kind])
    .map(([kind]) => kind);
  const later = Object.keys(entryBodies).filter((kind) => revisionOf(kind) > previous.entryRevision);

  expect(changed).toEqual(later);
});

it("is itself of the latest revision that any kind takes", () => {
  const revisions = Object.keys(entryBodies).map((kind) => revisionOf(kind));

  expect(Math.max(...revisions)).toBe(entryRevision);
});

it("asks nothing of followers for a kind that it does not know: the fold refuses it", () => {
  expect(revisionOf("future.kind")).toBe(1);
  expect(revisionOf("constructor")).toBe(1);
});

function digestOf(schema: z.ZodType): string {
  return createHash("sha256")
    .update(JSON.stringify(z.toJSONSchema(schema)))
    .digest("hex");
}
