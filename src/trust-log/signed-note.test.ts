import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { signerNamed } from "../../test/fakes/small-trust-log.ts";
import { bytesOf, bytesOfBase64, textOf } from "../base/bytes.ts";
import { ed25519PublicKey } from "../crypto/index.ts";
import {
  isNoteName,
  isSignedBy,
  type NoteVerifier,
  noteBytesMax,
  parseNote,
  parseVerifierKey,
  type SignedNote,
  signNote,
  verifierKeyOf,
} from "./signed-note.ts";

// The example of C2SP signed-note.
const exampleKey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const exampleNote =
  "This is an example message.\n\n" +
  "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

// The example of the documentation of golang.org/x/mod/sumdb/note.
const peterKey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const peterNote =
  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n" +
  "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

function verifierOf(text: string): NoteVerifier {
  const verifier = parseVerifierKey(text);
  if (!verifier.ok) throw new Error(verifier.detail);
  return verifier.value;
}

function noteOf(text: string): SignedNote {
  const note = parseNote(bytesOf(text));
  if (!note.ok) throw new Error(note.detail);
  return note.value;
}

describe("the public examples", () => {
  test.each([
    ["C2SP", exampleKey, exampleNote],
    ["Go", peterKey, peterNote],
  ])("of %s are signed by their keys and not by each other's", (_, key, note) => {
    const other = key === exampleKey ? peterKey : exampleKey;

    expect(verifierKeyOf(verifierOf(key))).toBe(key);
    expect(isSignedBy(noteOf(note), verifierOf(key))).toBe(true);
    expect(isSignedBy(noteOf(note), verifierOf(other))).toBe(false);
    expect(isSignedBy(noteOf(note.replace("o", "0")), verifierOf(key))).toBe(false);
  });
});

describe("parseNote", () => {
  const [line = ""] = exampleNote.split("\n").slice(2);
  const text = "This is an example message.\n\n";
  const signature = line.slice("— example.com/foo ".length);

  test.each([
    ["nothing at all", ""],
    ["a text without signatures", "This is an example message.\n"],
    ["a text with an empty signature block", text],
    ["a text alone with one line end too many", `${text}\n`],
    ["no line end after the last signature", exampleNote.slice(0, -1)],
    ["an empty line after the last signature", `${exampleNote}\n`],
    ["an empty line between signatures", `${exampleNote}\n${line}`],
    ["CRLF line ends", exampleNote.replaceAll("\n", "\r\n")],
    ["CR before one line end", `${exampleNote.slice(0, -1)}\r\n`],
    ["a tab in the text", exampleNote.replace(" is ", "\tis ")],
    ["a NUL in the text", exampleNote.replace(" is ", "\u0000is ")],
    ["a hyphen instead of the dash", exampleNote.replace("—", "-")],
    ["an en dash instead of the dash", exampleNote.replace("—", "–")],
    ["a blank before the dash", exampleNote.replace("—", " —")],
    ["two blanks after the dash", exampleNote.replace("— ", "—  ")],
    ["a no-break space after the dash", exampleNote.replace("— ", "—\u00a0")],
    ["no name", `${text}— ${signature}\n`],
    ["a plus in the name", exampleNote.replace("com/foo", "com+foo")],
    ["a character beyond ASCII in the name", exampleNote.replace("com/foo", "cöm/foo")],
    ["a name of 256 characters", `${text}— ${"n".repeat(256)} ${signature}\n`],
    ["a blank after the signature", `${text}${line} \n`],
    ["a word after the signature", `${text}${line} more\n`],
    ["base64 without padding", exampleNote.replace("QM=", "QM")],
    ["base64 with trailing bits", exampleNote.replace("QM=", "QN=")],
    ["base64 for URLs", exampleNote.replace("Uw2Q", "U-2Q")],
    ["base64 with a blank inside", exampleNote.replace("Uw2Q", "Uw 2Q")],
    ["a signature of no bytes", `${text}— example.com/foo Uw2QOg==\n`],
    ["the same signature twice", `${exampleNote}${line}\n`],
    ["two signatures by the same key", `${exampleNote}— example.com/foo Uw2QOgAA\n`],
    ["17 signatures", text + Array.from({ length: 17 }, (_, at) => `— n${at} ${signature}\n`).join("")],
    ["more bytes than a note may have", `${"x".repeat(noteBytesMax)}\n\n${line}\n`],
  ])("refuses %s: malformed-note", (_, note) => {
    expect(parseNote(bytesOf(note))).toMatchObject({ ok: false, reason: "malformed-note" });
  });

  test("refuses bytes that are not UTF-8: malformed-note", () => {
    const bytes = bytesOf(exampleNote);

    expect(parseNote(bytes.with(3, 0xff))).toMatchObject({ ok: false, reason: "malformed-note" });
    expect(parseNote(bytes.with(3, 0xc0))).toMatchObject({ ok: false, reason: "malformed-note" });
  });

  test("takes a byte order mark for a part of the text", () => {
    expect(noteOf(`\ufeff${exampleNote}`).text).toBe("\ufeffThis is an example message.\n");
  });

  test("splits at the last empty line, so a text may hold what looks like signatures", () => {
    const note = noteOf(`${exampleNote}\n${line}\n`);

    expect(note.text).toBe(exampleNote);
    expect(isSignedBy(note, verifierOf(exampleKey))).toBe(false);
  });

  test("takes 16 signatures, and two keys of one name", () => {
    const lines = Array.from({ length: 15 }, (_, at) => `— n${at} ${signature}\n`).join("");
    const note = noteOf(`${exampleNote}${lines}`);

    expect(note.signatures).toHaveLength(16);
    expect(noteOf(`${exampleNote}— example.com/foo AAAAAAAA\n`).signatures).toHaveLength(2);
  });

  test("never throws, and gives back what it takes in one spelling only", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.string().map(bytesOf)), (bytes) => {
        parseNote(bytes);
      }),
    );
    const bytes = bytesOf(exampleNote);
    const verifier = verifierOf(exampleKey);
    for (let at = 0; at < bytes.byteLength; at += 1)
      for (let bit = 0; bit < 8; bit += 1) {
        const flipped = parseNote(bytes.with(at, (bytes[at] ?? 0) ^ (1 << bit)));
        expect(flipped.ok && isSignedBy(flipped.value, verifier)).toBe(false);
      }
  });
});

describe("isSignedBy", () => {
  const signer = signerNamed("example.org/a");
  const note = noteOf(textOf(signNote("text\n", [signer])) ?? "");

  test("holds for each signer and for nobody else", () => {
    const second = signerNamed("example.org/b");
    const both = noteOf(textOf(signNote("a\n\nb\n", [signer, second])) ?? "");

    expect(both.text).toBe("a\n\nb\n");
    expect(isSignedBy(both, signer)).toBe(true);
    expect(isSignedBy(both, second)).toBe(true);
    expect(isSignedBy(both, signerNamed("example.org/a"))).toBe(false);
    expect(isSignedBy(note, second)).toBe(false);
  });

  test("does not hold for the same key under another name", () => {
    const renamed = { name: "example.org/b", publicKey: signer.publicKey };
    const claimed = noteOf((textOf(signNote("text\n", [signer])) ?? "").replace("/a", "/b"));

    expect(isSignedBy(note, renamed)).toBe(false);
    expect(isSignedBy(claimed, renamed)).toBe(false);
  });

  test("does not hold where the key id is another one, whatever the signature", () => {
    const signatures = note.signatures.map((one) => ({
      ...one,
      keyId: one.keyId.with(0, (one.keyId[0] ?? 0) ^ 1),
    }));

    expect(isSignedBy({ ...note, signatures }, signer)).toBe(false);
  });

  test("does not hold for signatures of another length", () => {
    for (const length of [0, 63, 65]) {
      const signatures = note.signatures.map((one) => ({ ...one, signature: new Uint8Array(length) }));
      expect(isSignedBy({ ...note, signatures }, signer)).toBe(false);
    }
  });

  test("is false, not a fault, for a public key that is no point of the curve", () => {
    const publicKey = ed25519PublicKey(new Uint8Array(32).fill(0xff)) ?? signer.publicKey;
    const claimed = signNote("text\n", [{ ...signer, publicKey }]);

    expect(isSignedBy(noteOf(textOf(claimed) ?? ""), { name: signer.name, publicKey })).toBe(false);
  });
});

describe("parseVerifierKey", () => {
  const blob = bytesOfBase64("AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k") ?? new Uint8Array(0);

  test.each([
    ["nothing", ""],
    ["a key of another name", exampleKey.replace("com/foo", "com/bar")],
    ["another key id", exampleKey.replace("530d903a", "530d903b")],
    ["a key id in capitals", exampleKey.replace("530d903a", "530D903A")],
    ["a key id that is too short", exampleKey.replace("530d903a", "530d903")],
    ["another type of key", exampleKey.replace("+Aeky", "+Beky")],
    ["a key that is too short", exampleKey.slice(0, -4)],
    ["a key that is too long", `${exampleKey}AAAA`],
    ["base64 for URLs", exampleKey.replace("AekyeRrm", "AekyeR-m")],
    ["a line end after it", `${exampleKey}\n`],
    ["a blank in the name", exampleKey.replace("com/foo", "com foo")],
    ["no name", exampleKey.replace("example.com/foo", "")],
  ])("refuses %s: malformed-verifier-key", (_, text) => {
    expect(blob.byteLength).toBe(33);
    expect(parseVerifierKey(text)).toMatchObject({ ok: false, reason: "malformed-verifier-key" });
  });
});

test.each([
  ["a", true],
  ["example.org/trust-log", true],
  ["~!*,", true],
  ["n".repeat(255), true],
  ["n".repeat(256), false],
  ["", false],
  ["a b", false],
  ["a+b", false],
  ["a\nb", false],
  ["a\u007fb", false],
  ["a\u00a0b", false],
  ["é", false],
  ["\ud800", false],
])("%j may stand in a note: %s", (name, isName) => {
  expect(isNoteName(name)).toBe(isName);
});
