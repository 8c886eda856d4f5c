import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { distinguishedName } from "./build-certificate.ts";
import { buildRevocationList, type RevocationListContent } from "./build-revocation-list.ts";
import { derTag } from "./der-reader.ts";
import { derInteger, derObjectIdentifier, derOf, derSequence, derTime, derTrue } from "./der-writer.ts";
import { generateEd25519 } from "./ed25519.ts";
import { generateP256 } from "./p256.ts";
import {
  isListSignedBy,
  type ParsedRevocationList,
  parseRevocationList,
  revocationReasons,
} from "./revocation-list.ts";

const keys = generateP256();
const content: RevocationListContent = {
  issuer: distinguishedName("Issuer"),
  authorityKeyId: Uint8Array.of(1, 2, 3),
  number: 70_000,
  thisUpdateSeconds: 1_800_000_000,
  nextUpdateSeconds: 1_800_086_400,
  revoked: [
    { serial: "7f0102", atSeconds: 1_799_999_000, reason: "key-compromise" },
    { serial: "ff", atSeconds: 1_799_999_001, reason: "unspecified" },
  ],
};

function parsed(der: Uint8Array): ParsedRevocationList {
  const result = parseRevocationList(der);
  if (!result.ok) throw new Error(`${result.reason}: ${result.detail}`);
  return result.value;
}

function reasonOf(der: Uint8Array): string {
  const result = parseRevocationList(der);
  return result.ok ? "accepted" : result.reason;
}

/** A list with other parts than ours has, unsigned. */
function listOf(...parts: readonly Uint8Array[]): Uint8Array {
  const algorithm = Buffer.from("300a06082a8648ce3d040302", "hex");
  return derSequence(derSequence(...parts), algorithm, derOf(derTag.bitString, Uint8Array.of(0)));
}

const version = derInteger(Uint8Array.of(1));
const algorithm = Buffer.from("300a06082a8648ce3d040302", "hex");
const times = [derTime(1), derTime(2)];
const numbered = extension("2.5.29.20", derInteger(Uint8Array.of(1)));

function extension(oid: string, value: Uint8Array, isCritical = false): Uint8Array {
  const flag = isCritical ? [derTrue()] : [];
  return derSequence(derObjectIdentifier(oid), ...flag, derOf(derTag.octetString, value));
}

function withExtensions(...extensions: readonly Uint8Array[]): Uint8Array {
  const list = derOf(0xa0, derSequence(...extensions));
  return listOf(version, algorithm, content.issuer, ...times, list);
}

function withEntries(...entries: readonly Uint8Array[]): Uint8Array {
  const list = derOf(0xa0, derSequence(numbered));
  return listOf(version, algorithm, content.issuer, ...times, derSequence(...entries), list);
}

describe("a revocation list", () => {
  test.each([
    ["P-256", keys],
    ["Ed25519", generateEd25519()],
  ])("says what was put into it, under a key of %s", (_kind, pair) => {
    const list = parsed(buildRevocationList(content, pair.privateKey));

    expect(list).toMatchObject({
      issuer: { text: "O=Issuer" },
      authorityKeyId: "010203",
      number: 70_000n,
      thisUpdateSeconds: 1_800_000_000,
      nextUpdateSeconds: 1_800_086_400,
    });
    expect([...list.revoked.values()]).toEqual(content.revoked);
    expect(isListSignedBy(list, pair.publicKey)).toBe(true);
    expect(isListSignedBy(list, generateP256().publicKey)).toBe(false);
  });

  test("is read back whatever it names, and however much", () => {
    const one = fc.record({
      serial: fc.stringMatching(/^[1-9a-f][0-9a-f]{15}$/),
      atSeconds: fc.integer({ min: 0, max: 4_000_000_000 }),
      reason: fc.constantFrom(...revocationReasons.filter((reason) => reason !== "unused")),
    });
    fc.assert(
      fc.property(fc.uniqueArray(one, { selector: ({ serial }) => serial, maxLength: 30 }), (revoked) => {
        const list = parsed(buildRevocationList({ ...content, revoked }, keys.privateKey));
        expect([...list.revoked.values()]).toEqual(revoked);
      }),
    );
    const many = Array.from({ length: 3_000 }, (_, place) => ({
      serial: (0x10_0000 + place).toString(16),
      atSeconds: 1_800_000_000,
      reason: "superseded" as const,
    }));
    expect(parsed(buildRevocationList({ ...content, revoked: many }, keys.privateKey)).revoked.size).toBe(
      3_000,
    );
  });

  test("does not verify with any bit of what is signed turned", () => {
    const good = parsed(buildRevocationList(content, keys.privateKey));

    for (let bit = 0; bit < good.signed.byteLength * 8; bit += 1) {
      const der = Uint8Array.from(good.der);
      const at = good.signed.byteOffset - good.der.byteOffset + (bit >> 3);
      der[at] = (der[at] ?? 0) ^ (1 << (bit & 7));
      const turned = parseRevocationList(der);
      expect(turned.ok && isListSignedBy(turned.value, keys.publicKey)).toBe(false);
    }
  });

  test.each([
    ["too-large", new Uint8Array(8 * 1024 * 1024 + 1)],
    ["malformed", new Uint8Array(0)],
    ["malformed", Buffer.concat([buildRevocationList(content, keys.privateKey), Buffer.of(0)])],
    ["unsupported-version", listOf(algorithm, content.issuer, ...times)],
    ["unsupported-version", listOf(derInteger(Uint8Array.of(2)), algorithm, content.issuer, ...times)],
    ["malformed", listOf(version, derSequence(), content.issuer, ...times)],
    ["malformed", listOf(version, algorithm, content.issuer, derTime(1))],
    ["malformed", listOf(version, algorithm, content.issuer, ...times)],
    ["malformed", withExtensions(extension("2.5.29.35", derSequence()))],
    ["malformed", withExtensions(numbered, numbered)],
    ["malformed", withExtensions(extension("2.5.29.20", derOf(derTag.integer, Uint8Array.of(0xff))))],
    [
      "unknown-extension",
      withExtensions(numbered, extension("2.5.29.27", derInteger(Uint8Array.of(1)), true)),
    ],
    [
      "malformed",
      withEntries(
        derSequence(derInteger(Uint8Array.of(5)), derTime(1)),
        derSequence(derInteger(Uint8Array.of(5)), derTime(1)),
      ),
    ],
    [
      "malformed",
      withEntries(
        derSequence(
          derInteger(Uint8Array.of(5)),
          derTime(1),
          derSequence(extension("2.5.29.21", derOf(derTag.enumerated, Uint8Array.of(7)))),
        ),
      ),
    ],
    [
      "malformed",
      withEntries(
        derSequence(
          derInteger(Uint8Array.of(5)),
          derTime(1),
          derSequence(extension("2.5.29.29", derSequence(), true)),
        ),
      ),
    ],
    ["malformed", withEntries()],
  ])("is refused as %s (%#)", (reason, der) => {
    expect(reasonOf(der)).toBe(reason);
  });

  test("that is as short as it may be is read", () => {
    expect(reasonOf(withExtensions(numbered))).toBe("accepted");
  });
});
