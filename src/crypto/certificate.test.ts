import { generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import { AsnConvert } from "@peculiar/asn1-schema";
import { Certificate } from "@peculiar/asn1-x509";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hexOf } from "../base/bytes.ts";
import {
  buildCertificate,
  buildSelfSignedCertificate,
  type CertificateContent,
  distinguishedName,
} from "./build-certificate.ts";
import {
  authorityConstraints,
  authorityKeyIdExtension,
  endEntityConstraints,
  extendedKeyUsageExtension,
  keyUsageExtension,
  subjectKeyIdExtension,
  uriHostConstraint,
  uriNamesExtension,
} from "./build-extensions.ts";
import { isSignedBy, type ParsedCertificate, parseCertificate } from "./certificate.ts";
import { derBitString, derInteger, derObjectIdentifier, derOf, derSequence, derTrue } from "./der-writer.ts";
import { generateEd25519 } from "./ed25519.ts";
import { objectIdentifier } from "./object-identifiers.ts";
import { exportPublicKey, generateP256 } from "./p256.ts";

const keys = generateP256();
const content: CertificateContent = {
  serial: Uint8Array.of(0x7f, 1, 2),
  issuer: distinguishedName("Issuer"),
  subject: distinguishedName("Subject", "ä,+\u0007"),
  notBeforeSeconds: 1_800_000_000,
  notAfterSeconds: Date.UTC(2050, 0, 1) / 1000,
  publicKeyInfo: exportPublicKey(keys.publicKey),
  extensions: [
    authorityConstraints(1),
    keyUsageExtension(["digitalSignature", "keyCertSign", "decipherOnly"]),
    extendedKeyUsageExtension([objectIdentifier.serverAuth]),
    uriNamesExtension(["a://b/c", "d://e"]),
    uriHostConstraint("b"),
    subjectKeyIdExtension(exportPublicKey(keys.publicKey)),
    authorityKeyIdExtension(exportPublicKey(keys.publicKey)),
  ],
};
const good = buildCertificate(content, keys.privateKey);

function parsed(der: Uint8Array): ParsedCertificate {
  const result = parseCertificate(der);
  if (!result.ok) throw new Error(`${result.reason}: ${result.detail}`);
  return result.value;
}

function reasonOf(der: Uint8Array): string {
  const result = parseCertificate(der);
  return result.ok ? "accepted" : result.reason;
}

function withContent(changed: Partial<CertificateContent>): Uint8Array {
  return buildCertificate({ ...content, ...changed }, keys.privateKey);
}

describe("a built certificate", () => {
  test("is read back with all that it was told to say", () => {
    expect(parsed(good)).toMatchObject({
      serial: "7f0102",
      issuer: { text: "O=Issuer" },
      subject: { text: "O=Subject, CN=\\u00e4\\u002c\\u002b\\u0007" },
      notBeforeSeconds: content.notBeforeSeconds,
      notAfterSeconds: content.notAfterSeconds,
      basicConstraints: { isCa: true, pathLength: 1 },
      keyUsage: new Set(["digitalSignature", "keyCertSign", "decipherOnly"]),
      extendedKeyUsage: [objectIdentifier.serverAuth],
      uriNames: ["a://b/c", "d://e"],
      otherNameTags: [],
      nameConstraints: { permitted: [{ tag: 0x86 }], excluded: [] },
    });
    expect(parsed(good).publicKey.equals(keys.publicKey)).toBe(true);
    expect(parsed(good).subjectKeyId).toBe(parsed(good).authorityKeyId);
  });

  test("says the same to OpenSSL", () => {
    const oracle = new X509Certificate(good);

    expect(oracle.serialNumber.toLowerCase()).toBe(parsed(good).serial);
    expect(oracle.fingerprint256.replaceAll(":", "").toLowerCase()).toBe(parsed(good).sha256);
    expect(oracle.validFromDate.getTime() / 1000).toBe(content.notBeforeSeconds);
    expect(oracle.validToDate.getTime() / 1000).toBe(content.notAfterSeconds);
    expect(oracle.subjectAltName).toBe("URI:a://b/c, URI:d://e");
    expect(oracle.verify(keys.publicKey)).toBe(true);
  });

  test("is the same bytes after an independent ASN.1 library has read and written it", () => {
    const again = AsnConvert.serialize(AsnConvert.parse(good, Certificate));

    expect(hexOf(new Uint8Array(again))).toBe(hexOf(good));
  });

  test("does not change when the bytes it was read from change", () => {
    const bytes = Uint8Array.from(good);
    const certificate = parsed(bytes);
    bytes.fill(0);

    expect(isSignedBy(certificate, keys.publicKey)).toBe(true);
  });
});

test.each([
  ["P-256", generateP256()],
  ["Ed25519", generateEd25519()],
])("a self-signed certificate for a key on %s verifies under that key", (_name, pair) => {
  const { serial, subject, notBeforeSeconds, notAfterSeconds } = content;
  const der = buildSelfSignedCertificate(
    { serial, subject, notBeforeSeconds, notAfterSeconds },
    pair.privateKey,
  );

  expect(isSignedBy(parsed(der), pair.publicKey)).toBe(true);
  expect(new X509Certificate(der).verify(pair.publicKey)).toBe(true);
  expect(parsed(der).basicConstraints?.isCa).toBe(false);
});

test("a key that is neither P-256 nor Ed25519 signs no certificate", () => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });

  expect(() => buildCertificate(content, privateKey)).toThrow(/neither/);
});

test("a certificate without extensions says nothing by them", () => {
  const list = hexOf(derOf(0xa3, derSequence(...extensionsOf(good))));
  const { signed, algorithm, signature } = parsed(good);
  const content = hexOf(signed).slice(8).replace(list, "");
  const bare = derSequence(Uint8Array.from(Buffer.from(content, "hex")));
  const algorithmDer = Uint8Array.from(Buffer.from(algorithm, "hex"));

  expect(content.length).toBeLessThan(hexOf(signed).length - 8);
  expect(parsed(derSequence(bare, algorithmDer, derBitString(signature)))).toMatchObject({
    extensions: new Map(),
    basicConstraints: undefined,
    keyUsage: undefined,
    uriNames: [],
  });
});

describe("a signature", () => {
  test("holds under the issuer's key alone", () => {
    expect(isSignedBy(parsed(good), keys.publicKey)).toBe(true);
    expect(isSignedBy(parsed(good), generateP256().publicKey)).toBe(false);
  });

  test("does not hold under a key of another kind than its algorithm", () => {
    expect(isSignedBy(parsed(good), generateEd25519().publicKey)).toBe(false);
    expect(isSignedBy(parsed(good), generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey)).toBe(
      false,
    );
  });

  test("holds for RSA with SHA-256, and for P-384 with SHA-384", () => {
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" });

    expect(
      isSignedBy(parsed(resigned("300d06092a864886f70d01010b0500", "sha256", rsa.privateKey)), rsa.publicKey),
    ).toBe(true);
    expect(
      isSignedBy(parsed(resigned("300a06082a8648ce3d040303", "sha384", p384.privateKey)), p384.publicKey),
    ).toBe(true);
  });

  test("does not hold with an algorithm outside the list, though it verifies", () => {
    const sha1 = resigned("300906072a8648ce3d0401", "sha1", keys.privateKey);
    const withParameters = resigned("300c06082a8648ce3d0403020500", "sha256", keys.privateKey);

    expect(isSignedBy(parsed(sha1), keys.publicKey)).toBe(false);
    expect(isSignedBy(parsed(withParameters), keys.publicKey)).toBe(false);
  });

  test("does not hold under an EC key where the algorithm brings its own digest, though OpenSSL has a default", () => {
    const ed25519 = resigned("300506032b6570", "sha256", keys.privateKey);

    expect(isSignedBy(parsed(ed25519), keys.publicKey)).toBe(false);
  });

  test("by ECDSA has a twin, so that the hash of a certificate is no name to revoke it by", () => {
    const original = parsed(good);
    const twin = parsed(withSignature(original, negatedSignature(original.signature)));

    expect(isSignedBy(twin, keys.publicKey)).toBe(true);
    expect(twin.serial).toBe(original.serial);
    expect(twin.sha256).not.toBe(original.sha256);
  });
});

describe("refuses", () => {
  const { algorithm, signed, signature } = parsed(good);
  const algorithmDer = Uint8Array.from(Buffer.from(algorithm, "hex"));
  const p256 = "301306072a8648ce3d020106082a8648ce3d030107";

  test.each<[string, string, Uint8Array]>([
    ["too-large", "more than 16 KiB", new Uint8Array(16_385)],
    ["malformed", "nothing", new Uint8Array()],
    ["malformed", "a byte after the end", Uint8Array.of(...good, 0)],
    ["malformed", "a missing last byte", good.subarray(0, -1)],
    ["malformed", "a fourth part", derSequence(signed, algorithmDer, derBitString(signature), derSequence())],
    [
      "malformed",
      "a signature of bits",
      derSequence(signed, algorithmDer, derOf(3, Uint8Array.of(1), signature)),
    ],
    [
      "signature-algorithm-mismatch",
      "another algorithm outside",
      derSequence(signed, derSequence(), derBitString(signature)),
    ],
    [
      "malformed",
      "an extension twice",
      withContent({ extensions: [endEntityConstraints(), authorityConstraints(0)] }),
    ],
    [
      "malformed",
      "33 extensions",
      withContent({
        extensions: Array.from({ length: 33 }, (_unused, at) => ({
          oid: `2.999.${at}`,
          critical: false,
          value: Uint8Array.of(),
        })),
      }),
    ],
    ["malformed", "critical written as FALSE", withCriticalFalse()],
    ["malformed", "no extension in the list", withContent({ extensions: [] })],
    ["malformed", "a name above 1 KiB", withContent({ subject: distinguishedName("x".repeat(1100)) })],
    ["bad-serial", "serial number 0", withContent({ serial: Uint8Array.of(0) })],
    ["bad-serial", "a serial number of 21 bytes", withContent({ serial: new Uint8Array(21).fill(1) })],
    [
      "bad-validity",
      "an end before the beginning",
      withContent({ notAfterSeconds: content.notBeforeSeconds - 1 }),
    ],
    [
      "unsupported-key",
      "a point that is not on P-256",
      withKey(p256, Uint8Array.of(4, ...new Uint8Array(64).fill(1))),
    ],
    ["unsupported-key", "a compressed point", withKey(p256, Uint8Array.of(2, ...new Uint8Array(32).fill(1)))],
    ["unsupported-key", "RSA of 2040 bits", withKey("300d06092a864886f70d0101010500", rsaKey(2040, 65_537))],
    ["unsupported-key", "RSA of 4104 bits", withKey("300d06092a864886f70d0101010500", rsaKey(4104, 65_537))],
    [
      "unsupported-key",
      "RSA with a negative modulus",
      withKey(
        "300d06092a864886f70d0101010500",
        derSequence(
          derOf(2, Uint8Array.of(0x80, ...new Uint8Array(255).fill(1))),
          derInteger(Uint8Array.of(1, 0, 1)),
        ),
      ),
    ],
    ["unsupported-key", "RSA with exponent 3", withKey("300d06092a864886f70d0101010500", rsaKey(2048, 3))],
    [
      "unsupported-key",
      "X25519",
      withContent({ publicKeyInfo: exportPublicKey(generateKeyPairSync("x25519").publicKey) }),
    ],
  ])("as %s: %s", (reason, _name, der) => {
    expect(reasonOf(der)).toBe(reason);
  });

  test.each([
    ["cA written as FALSE", objectIdentifier.basicConstraints, "3003010100"],
    ["a path length without cA", objectIdentifier.basicConstraints, "3003020100"],
    ["bytes after basic constraints", objectIdentifier.basicConstraints, "300000"],
    ["key usage in a longer form", objectIdentifier.keyUsage, "0303078000"],
    ["no extended key usage in the list", objectIdentifier.extendedKeyUsage, "3000"],
    ["no alternative name in the list", objectIdentifier.subjectAlternativeName, "3000"],
    ["a URI outside ASCII", objectIdentifier.subjectAlternativeName, "30038601ff"],
    ["a name of no known kind", objectIdentifier.subjectAlternativeName, "30038901ff"],
    ["name constraints without subtrees", objectIdentifier.nameConstraints, "3000"],
    [
      "a subtree with a minimum",
      objectIdentifier.nameConstraints,
      "300aa00830068601618001 00".replace(" ", ""),
    ],
    ["65 alternative names", objectIdentifier.subjectAlternativeName, `3081c3${"860161".repeat(65)}`],
    ["65 subtrees", objectIdentifier.nameConstraints, `30820149a0820145${"3003860161".repeat(65)}`],
    ["a key id that is no octet string", objectIdentifier.subjectKeyId, "0500"],
  ])("as malformed: %s", (_name, oid, hex) => {
    const value = Uint8Array.from(Buffer.from(hex, "hex"));

    expect(reasonOf(withContent({ extensions: [{ oid, critical: false, value }] }))).toBe("malformed");
  });

  test("as unsupported-version: no version, which means 1", () => {
    expect(
      reasonOf(derSequence(derSequence(derInteger(Uint8Array.of(1))), algorithmDer, derBitString(signature))),
    ).toBe("unsupported-version");
  });

  test("as unsupported-version: version 2", () => {
    const [version] = [derOf(0xa0, derInteger(Uint8Array.of(2)))];
    const at = hexOf(signed).indexOf(hexOf(version)) / 2;
    const older = Uint8Array.from(good);
    const offset = hexOf(good).indexOf(hexOf(signed)) / 2 + at + version.byteLength - 1;
    older[offset] = 1;

    expect(reasonOf(older)).toBe("unsupported-version");
  });

  function withCriticalFalse(): Uint8Array {
    const marked = { ...endEntityConstraints(), critical: true };
    const der = hexOf(withContent({ extensions: [marked] }));
    return Uint8Array.from(Buffer.from(der.replace("0101ff0402", "0101000402"), "hex"));
  }

  function withKey(algorithmHex: string, key: Uint8Array): Uint8Array {
    const info = derSequence(Uint8Array.from(Buffer.from(algorithmHex, "hex")), derBitString(key));
    return withContent({ publicKeyInfo: info, extensions: [endEntityConstraints()] });
  }

  function rsaKey(bits: number, exponent: number): Uint8Array {
    const modulus = new Uint8Array(bits / 8).fill(0xff);
    return derSequence(
      derInteger(modulus),
      derInteger(Uint8Array.of(exponent >> 16, exponent >> 8, exponent)),
    );
  }
});

describe("never throws", () => {
  test("at random bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => !parseCertificate(bytes).ok));
  });

  test("at a certificate with some bytes overwritten", () => {
    const at = fc.integer({ min: 0, max: good.byteLength - 1 });
    fc.assert(
      fc.property(fc.array(fc.tuple(at, fc.nat(255)), { minLength: 1, maxLength: 4 }), (edits) => {
        const bytes = Uint8Array.from(good);
        for (const [offset, byte] of edits) bytes[offset] = byte;
        const result = parseCertificate(bytes);
        return !result.ok || isSignedBy(result.value, keys.publicKey) === Buffer.from(bytes).equals(good);
      }),
      { numRuns: 2000 },
    );
  });

  test("at elements nested four thousand deep", () => {
    let nested = new Uint8Array();
    for (let depth = 0; depth < 4000; depth += 1) nested = Uint8Array.from(derSequence(nested));

    expect(reasonOf(nested)).toBe("malformed");
  });
});

function extensionsOf(der: Uint8Array): readonly Uint8Array[] {
  return [...parsed(der).extensions.values()].map(({ oid, critical, value }) =>
    derSequence(derObjectIdentifier(oid), ...(critical ? [derTrue()] : []), derOf(0x04, value)),
  );
}

function withSignature(certificate: ParsedCertificate, signature: Uint8Array): Uint8Array {
  const algorithm = Uint8Array.from(Buffer.from(certificate.algorithm, "hex"));
  return derSequence(certificate.signed, algorithm, derBitString(signature));
}

/** The good certificate with another algorithm, truly signed with it. */
function resigned(algorithmHex: string, digest: string, privateKey: Parameters<typeof sign>[2]): Uint8Array {
  const { signed, algorithm } = parsed(good);
  const algorithmDer = Uint8Array.from(Buffer.from(algorithmHex, "hex"));
  const [before = "", after = ""] = hexOf(signed).slice(8).split(algorithm, 2);
  const parts = [before, algorithmHex, hexOf(signed).slice(8 + before.length + algorithm.length)];
  const toBeSigned = derSequence(Uint8Array.from(Buffer.from(parts.join(""), "hex")));
  expect(after).not.toBe("");
  return derSequence(toBeSigned, algorithmDer, derBitString(sign(digest, toBeSigned, privateKey)));
}

/** The other valid ECDSA signature of the same message: (r, n - s). */
function negatedSignature(signature: Uint8Array): Uint8Array {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const hex = hexOf(signature);
  const rBytes = Number.parseInt(hex.slice(6, 8), 16);
  const r = BigInt(`0x${hex.slice(8, 8 + 2 * rBytes)}`);
  const s = BigInt(`0x${hex.slice(12 + 2 * rBytes)}`);
  return derSequence(bigInteger(r), bigInteger(order - s));
}

function bigInteger(value: bigint): Uint8Array {
  return derInteger(Uint8Array.from(Buffer.from(value.toString(16).padStart(64, "0"), "hex")));
}
