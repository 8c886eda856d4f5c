import { expect, it } from "vitest";
import { entryBytesMax } from "../storage/index.ts";
import { auditEntry } from "./audit-record.ts";

const at = { timeMillis: 1_800_000_000_123, treeSize: 42 };

it("is one line of canonical JSON, keys in order", () => {
  const entry = auditEntry({ type: "gap", lost: 3 }, at);

  expect(Buffer.from(entry).toString()).toBe(
    '{"lost":3,"timeMillis":1800000000123,"treeSize":42,"type":"gap"}',
  );
});

it("fits into a journal whatever a peer sends, and stays well-formed text", () => {
  const long = `${"\u0001".repeat(511)}\u{1f600}`.repeat(100);

  const entry = auditEntry(
    {
      type: "decision",
      decisionId: "00",
      effect: "deny",
      reason: long,
      rule: long,
      caller: long,
      callee: long,
      method: long,
      path: long,
      evaluatorVersion: 1,
      freshness: long,
    },
    at,
  );

  expect(entry.byteLength).toBeLessThan(entryBytesMax);
  const { path } = JSON.parse(Buffer.from(entry).toString());
  expect(path).toBe(`${"\u0001".repeat(511)}\ufffd`);
});
