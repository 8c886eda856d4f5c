import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { signerNamed } from "../../test/fakes/small-trust-log.ts";
import { bytesOf, textOf } from "../base/bytes.ts";
import { type EntryStatement, entryText, parseEntry, signEntry } from "./entry.ts";
import { noteBytesMax, signNote } from "./signed-note.ts";

const alice = signerNamed("test/alice");
const bob = signerNamed("test/bob");
const statement: EntryStatement = {
  kind: "service.remove",
  version: 1,
  log: "",
  author: alice.name,
  sequence: 7,
  expiresAtSeconds: 0,
  body: { name: "/shop" },
};
const json =
  '{"author":"test/alice","body":{"name":"/shop"},"expiresAtSeconds":0,"kind":"service.remove","log":"","sequence":7,"version":1}';

describe("parseEntry", () => {
  test("gives back what was signed, and by whom", () => {
    const parsed = parseEntry(signEntry(statement, [alice, bob]));

    expect(parsed).toMatchObject({
      ok: true,
      value: { statement, note: { signatures: [{ name: alice.name }, { name: bob.name }] } },
    });
    expect(entryText(statement)).toBe(`troth entry v1\n${json}\n`);
  });

  test.each([
    ["another header", json, "troth entry v2\n"],
    ["no header", json, ""],
    ["keys in another order", json.replace('"log":"","sequence":7', '"sequence":7,"log":""')],
    ["white space", json.replace(":7", ": 7")],
    ["a line end in the statement", json.replace(",", ",\n")],
    ["a key that stands twice", json.replace('"log":""', '"log":"","log":""')],
    ["a key too many", json.replace('"kind"', '"extra":1,"kind"')],
    ["a key too few", json.replace('"log":"",', "")],
    ["__proto__ in the place of a key", json.replace('"author":"test/alice"', '"__proto__":{"author":"a"}')],
    ["another escape for a character", json.replace("/shop", "\\u002fshop")],
    ["a fraction", json.replace(":7", ":7.5")],
    ["another spelling of a number", json.replace(":7", ":7.0")],
    ["a negative sequence", json.replace(":7", ":-7")],
    ["a negative zero", json.replace(":7", ":-0")],
    ["a sequence that is no safe integer", json.replace(":7", ":9007199254740992")],
    ["a sequence as text", json.replace(":7", ':"7"')],
    ["a negative version", json.replace(":1}", ":-1}")],
    ["an author that is no text", json.replace('"test/alice"', "1")],
    ["a kind that is no text", json.replace('"service.remove"', "null")],
    ["a log that is no text", json.replace('"log":""', '"log":null')],
    ["a body that is a list", json.replace('{"name":"/shop"}', "[]")],
    ["a body that is null", json.replace('{"name":"/shop"}', "null")],
    ["a list of the values", '["test/alice"]'],
    ["a lone surrogate", json.replace("/shop", "\\ud800")],
    ["lists nested deeper than 32", json.replace('"/shop"', `${"[".repeat(40)}${"]".repeat(40)}`)],
    ["lists nested 30 000 deep", json.replace('"/shop"', `${"[".repeat(30_000)}${"]".repeat(30_000)}`)],
    ["no JSON", "hello"],
    ["nothing", ""],
  ])("refuses %s: malformed-entry", (_, text, header = "troth entry v1\n") => {
    const bytes = signNote(`${header}${text}\n`, [alice]);

    expect(parseEntry(bytes)).toMatchObject({ ok: false, reason: "malformed-entry" });
  });

  test("refuses two signatures in one name, even by two keys: malformed-entry", () => {
    const otherKey = signerNamed(alice.name);

    expect(parseEntry(signEntry(statement, [alice, alice]))).toMatchObject({ reason: "malformed-entry" });
    expect(parseEntry(signEntry(statement, [alice, otherKey]))).toMatchObject({ reason: "malformed-entry" });
  });

  test("refuses an entry over 65 535 bytes and takes one that just fits", () => {
    const overhead = signEntry({ ...statement, body: { name: "" } }, [alice]).byteLength;
    const fits = signEntry({ ...statement, body: { name: "x".repeat(noteBytesMax - overhead) } }, [alice]);
    const exceeds = signEntry({ ...statement, body: { name: "x".repeat(noteBytesMax - overhead + 1) } }, [
      alice,
    ]);

    expect(parseEntry(fits).ok).toBe(true);
    expect(parseEntry(exceeds)).toMatchObject({ ok: false, reason: "malformed-entry" });
  });

  test("takes whatever statement can be signed, DEL and line separators in texts included", () => {
    const body = fc.dictionary(fc.string(), fc.oneof(fc.string({ unit: "grapheme" }), fc.maxSafeInteger()), {
      maxKeys: 4,
    });
    fc.assert(
      fc.property(body, fc.maxSafeNat(), (body, sequence) => {
        const parsed = parseEntry(signEntry({ ...statement, sequence, body }, [alice]));
        expect(parsed.ok && entryText(parsed.value.statement)).toBe(
          entryText({ ...statement, sequence, body }),
        );
      }),
      { numRuns: 50 },
    );
    expect(parseEntry(signEntry({ ...statement, body: { name: "\u007f\u2028\u0000" } }, [alice])).ok).toBe(
      true,
    );
  });

  test("keeps __proto__ in a body as the plain key that it is", () => {
    const bytes = signNote(
      `troth entry v1\n${json.replace('"name":"/shop"', '"__proto__":{"isTrusted":true}')}\n`,
      [alice],
    );

    const parsed = parseEntry(bytes);

    expect(parsed.ok && Object.keys(parsed.value.statement.body)).toEqual(["__proto__"]);
    expect(parsed.ok && parsed.value.statement.body["isTrusted"]).toBeUndefined();
    expect(Object.hasOwn(Object.prototype, "isTrusted")).toBe(false);
  });

  test("never throws", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(parseEntry(bytes).ok).toBe(false);
      }),
    );
  });

  test("the signed text of an entry cannot be that of a checkpoint or of a node's join", () => {
    const entry = textOf(signEntry(statement, [alice])) ?? "";

    expect(entry.startsWith("troth entry v1\n")).toBe(true);
    expect(bytesOf(entry).byteLength).toBeLessThan(noteBytesMax);
  });
});
