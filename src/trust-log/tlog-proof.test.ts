import { describe, expect, test } from "vitest";
import { SmallTrustLog, signerNamed } from "../../test/fakes/small-trust-log.ts";
import { bytesOf, textOf } from "../base/bytes.ts";
import { checkTlogProof, formatTlogProof, parseTlogProof } from "./tlog-proof.ts";

const log = new SmallTrustLog();
log.putNode("box2");
for (let epoch = 0; epoch < 9; epoch += 1) log.putEpoch();

function proofOf(index: number, size: number = log.entries.length): string {
  const proof = { index, hashes: log.tree.inclusionProof(index, size), checkpoint: log.checkpoint(size) };
  return textOf(formatTlogProof(proof)) ?? "";
}

function entry(index: number): Uint8Array {
  return log.entries[index] ?? new Uint8Array(0);
}

test("is for every entry of every size, and for no other entry", () => {
  for (let size = 1; size <= log.entries.length; size += 1)
    for (let index = 0; index < size; index += 1) {
      const proof = bytesOf(proofOf(index, size));

      expect(checkTlogProof(proof, entry(index), log.logKey)).toMatchObject({
        ok: true,
        value: { index, size },
      });
      const other = entry((index + 1) % log.entries.length);
      expect(checkTlogProof(proof, other, log.logKey)).toMatchObject({ ok: false, reason: "not-included" });
    }
});

test("is written and read back as it is, extra data aside", () => {
  const text = proofOf(3);

  const read = parseTlogProof(bytesOf(text));
  const withExtra = parseTlogProof(bytesOf(text.replace("\n", "\nextra aGVsbG8=\n")));

  expect(read.ok && textOf(formatTlogProof(read.value))).toBe(text);
  expect(withExtra).toEqual(read);
});

describe("refuses", () => {
  test.each<[string, string, (text: string) => string]>([
    ["malformed-proof", "no checkpoint", (text) => text.slice(0, text.indexOf("\n\n"))],
    ["malformed-proof", "another header", (text) => text.replace("@v1", "@v2")],
    ["malformed-proof", "no index", (text) => text.replace(/index .*\n/, "")],
    ["malformed-proof", "an index with a leading zero", (text) => text.replace("index ", "index 0")],
    [
      "malformed-proof",
      "an index beyond what can be counted",
      (text) => text.replace(/index .*/, "index 9007199254740992"),
    ],
    ["malformed-proof", "a line that is no hash", (text) => text.replace("\n\n", "\nhello\n\n")],
    ["malformed-proof", "a short hash", (text) => text.replace("\n\n", "\naGVsbG8=\n\n")],
    [
      "malformed-proof",
      "more hashes than a tree is high",
      (text) => text.replace("\n\n", `${`\n${"A".repeat(43)}=`.repeat(60)}\n\n`),
    ],
    ["malformed-proof", "extra data that is not base64", (text) => text.replace("\n", "\nextra !\n")],
    ["malformed-proof", "a huge file", (text) => text + "x".repeat(70_000)],
    ["not-included", "another index", (text) => text.replace("index 3", "index 4")],
    ["not-included", "a hash too many", (text) => text.replace("\n\n", `\n${"A".repeat(43)}=\n\n`)],
    ["not-included", "a hash too few", (text) => text.replace(/\n[^\n]*\n\n/, "\n\n")],
    ["malformed-checkpoint", "an unsigned checkpoint", (text) => text.slice(0, text.indexOf("\n— "))],
    [
      "bad-checkpoint-signature",
      "another size",
      (text) => text.replace(`\n${log.entries.length}\n`, `\n${log.entries.length + 1}\n`),
    ],
  ])("%s: %s", (reason, _, change) => {
    const changed = change(proofOf(3));

    expect(changed).not.toBe(proofOf(3));
    expect(checkTlogProof(bytesOf(changed), entry(3), log.logKey)).toMatchObject({ ok: false, reason });
  });

  test("the checkpoint of another log", () => {
    const stranger = signerNamed("other/trust-log");

    expect(checkTlogProof(bytesOf(proofOf(3)), entry(3), stranger)).toMatchObject({ reason: "other-origin" });
    expect(checkTlogProof(bytesOf(proofOf(3)), entry(3), signerNamed(log.logKey.name))).toMatchObject({
      reason: "bad-checkpoint-signature",
    });
  });
});
