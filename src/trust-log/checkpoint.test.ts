import { describe, expect, test } from "vitest";
import { signerNamed } from "../../test/fakes/small-trust-log.ts";
import { bytesOf, concatBytes, textOf } from "../base/bytes.ts";
import { checkCheckpoint, signCheckpoint } from "./checkpoint.ts";
import { leafHash } from "./merkle-tree.ts";
import { signNote } from "./signed-note.ts";

const signer = signerNamed("example.org/trust-log");
const root = leafHash(bytesOf("entry"));
const rootText = Buffer.from(root).toString("base64");

describe("checkCheckpoint", () => {
  test.each([0, 1, 2 ** 31, 2 ** 48 + 1, Number.MAX_SAFE_INTEGER])(
    "accepts what was signed for size %i",
    (size) => {
      const note = signCheckpoint({ size, root }, signer);

      const checked = checkCheckpoint(note, signer);

      expect(checked).toMatchObject({ ok: true, value: { origin: signer.name, size, root, note } });
      expect(textOf(note)?.split("\n").slice(0, 4)).toEqual([signer.name, String(size), rootText, ""]);
    },
  );

  test("accepts a checkpoint that others have signed as well", () => {
    const witness = signerNamed("witness.example");
    const note = signNote(`${signer.name}\n7\n${rootText}\n`, [witness, signer]);

    expect(checkCheckpoint(note, signer).ok).toBe(true);
  });

  test.each([
    ["a size with a sign", `+7\n${rootText}\n`],
    ["a negative size", `-7\n${rootText}\n`],
    ["a size with a leading zero", `07\n${rootText}\n`],
    ["a size in hexadecimal", `0x7\n${rootText}\n`],
    ["a size with an exponent", `1e3\n${rootText}\n`],
    ["a size with a blank", `7 \n${rootText}\n`],
    ["a size in other digits", `٧\n${rootText}\n`],
    ["no size", `\n${rootText}\n`],
    ["a size that is no safe integer", `9007199254740992\n${rootText}\n`],
    ["a size of 20 digits", `18446744073709551616\n${rootText}\n`],
    ["a root of 31 bytes", `7\n${Buffer.alloc(31).toString("base64")}\n`],
    ["a root of 33 bytes", `7\n${Buffer.alloc(33).toString("base64")}\n`],
    ["a root without padding", `7\n${rootText.slice(0, -1)}\n`],
    ["no root", "7\n"],
    ["an extension line", `7\n${rootText}\nmore\n`],
    ["an empty line at the end", `7\n${rootText}\n\n`],
  ])("refuses %s, signed or not: malformed-checkpoint", (_, rest) => {
    const note = signNote(`${signer.name}\n${rest}`, [signer]);

    expect(checkCheckpoint(note, signer)).toMatchObject({ ok: false, reason: "malformed-checkpoint" });
  });

  test("refuses what is no note: malformed-checkpoint", () => {
    expect(checkCheckpoint(new Uint8Array(0), signer)).toMatchObject({ reason: "malformed-checkpoint" });
  });

  test("refuses the checkpoint of another log that the same key signed: other-origin", () => {
    const other = { ...signer, name: "example.net/trust-log" };
    const note = signNote(`${other.name}\n7\n${rootText}\n`, [other, signer]);

    expect(checkCheckpoint(note, signer)).toMatchObject({ ok: false, reason: "other-origin" });
  });

  test.each([
    ["another key of the same name", signerNamed(signer.name)],
    ["the same key under another name", { ...signer, name: "example.org/other" }],
  ])("refuses a checkpoint signed by %s: bad-checkpoint-signature", (_, other) => {
    const note = signNote(`${signer.name}\n7\n${rootText}\n`, [other]);

    expect(checkCheckpoint(note, signer)).toMatchObject({ ok: false, reason: "bad-checkpoint-signature" });
  });

  test("refuses every other size and root under the same signature", () => {
    const note = textOf(signCheckpoint({ size: 7, root }, signer)) ?? "";
    const otherRoot = Buffer.from(leafHash(bytesOf("other"))).toString("base64");

    for (const forged of [note.replace("\n7\n", "\n8\n"), note.replace(rootText, otherRoot)])
      expect(checkCheckpoint(bytesOf(forged), signer)).toMatchObject({ reason: "bad-checkpoint-signature" });
  });

  test("refuses every single-bit flip and every byte added at either end", () => {
    const note = signCheckpoint({ size: 70_000, root }, signer);

    for (let bit = 0; bit < note.byteLength * 8; bit += 1)
      expect(checkCheckpoint(note.with(bit >> 3, (note[bit >> 3] ?? 0) ^ (1 << (bit & 7))), signer).ok).toBe(
        false,
      );
    for (let byte = 0; byte < 256; byte += 1) {
      expect(checkCheckpoint(concatBytes(note, Uint8Array.of(byte)), signer).ok).toBe(false);
      expect(checkCheckpoint(concatBytes(Uint8Array.of(byte), note), signer).ok).toBe(false);
    }
  });
});
