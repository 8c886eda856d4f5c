import { generateKeyPairSync, sign } from "node:crypto";
import { CertificationRequest } from "@peculiar/asn1-csr";
import { AsnConvert } from "@peculiar/asn1-schema";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hexOf } from "../base/bytes.ts";
import { buildCertificateRequest } from "./build-certificate.ts";
import { parseCertificateRequest } from "./certificate-request.ts";
import { derBitString, derInteger, derObjectIdentifier, derOf, derSequence, derText } from "./der-writer.ts";
import { generateEd25519 } from "./ed25519.ts";
import { exportPublicKey, generateP256 } from "./p256.ts";

const keys = generateP256();
const request = buildCertificateRequest(keys.privateKey, ["a://b/c", "a://b/d"]);

function reasonOf(der: Uint8Array): string {
  const result = parseCertificateRequest(der);
  return result.ok ? "accepted" : result.reason;
}

test.each([
  ["P-256", keys],
  ["Ed25519", generateEd25519()],
])("a request for a key on %s is read back", (_name, pair) => {
  const parsed = parseCertificateRequest(buildCertificateRequest(pair.privateKey, ["a://b/c"]));

  expect(parsed).toMatchObject({
    ok: true,
    value: { publicKeyInfo: exportPublicKey(pair.publicKey), requestedUriNames: ["a://b/c"] },
  });
});

test("a request may ask for no name", () => {
  const parsed = parseCertificateRequest(buildCertificateRequest(keys.privateKey));

  expect(parsed).toMatchObject({
    ok: true,
    value: { requestedUriNames: [], requestedSubject: { text: "" } },
  });
});

test("an independent ASN.1 library reads and writes the same bytes", () => {
  const again = AsnConvert.serialize(AsnConvert.parse(request, CertificationRequest));

  expect(hexOf(new Uint8Array(again))).toBe(hexOf(request));
});

test("attributes other than an extension request are passed over, and so is their absence", () => {
  const challenge = derSequence(
    derObjectIdentifier("1.2.840.113549.1.9.7"),
    derOf(0x31, derText("challenge password")),
  );

  expect(parseCertificateRequest(signedWith(derOf(0xa0, challenge)))).toMatchObject({
    ok: true,
    value: { requestedUriNames: [] },
  });
  expect(parseCertificateRequest(signedWith())).toMatchObject({ ok: true, value: { requestedUriNames: [] } });
});

function signedWith(...attributes: Uint8Array[]): Uint8Array {
  const asked = derSequence(
    derInteger(Uint8Array.of(0)),
    derSequence(),
    exportPublicKey(keys.publicKey),
    ...attributes,
  );
  const algorithm = derSequence(derObjectIdentifier("1.2.840.10045.4.3.2"));
  return derSequence(asked, algorithm, derBitString(sign("sha256", asked, keys.privateKey)));
}

describe("refuses", () => {
  test("a request for a key whose holder did not sign it: bad-signature", () => {
    const victim = hexOf(exportPublicKey(generateP256().publicKey));
    const stolen = hexOf(request).replace(hexOf(exportPublicKey(keys.publicKey)), victim);

    expect(reasonOf(Uint8Array.from(Buffer.from(stolen, "hex")))).toBe("bad-signature");
  });

  test("another key than is accepted in a certificate: unsupported-key", () => {
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "secp256k1" });
    const algorithm = derSequence(derObjectIdentifier("1.2.840.10045.4.3.2"));
    const asked = derSequence(derInteger(Uint8Array.of(0)), derSequence(), exportPublicKey(publicKey));

    expect(reasonOf(derSequence(asked, algorithm, derBitString(new Uint8Array(64))))).toBe("unsupported-key");
  });

  test("a version other than 1: unsupported-version", () => {
    const asked = derSequence(derInteger(Uint8Array.of(1)));

    expect(reasonOf(derSequence(asked, derSequence(), derBitString(new Uint8Array(64))))).toBe(
      "unsupported-version",
    );
  });

  test("more than 16 KiB: too-large", () => {
    expect(reasonOf(new Uint8Array(16_385))).toBe("too-large");
  });

  test("any one bit flipped", () => {
    for (let bit = 0; bit < request.byteLength * 8; bit += 1) {
      const flipped = Uint8Array.from(request);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(reasonOf(flipped)).not.toBe("accepted");
    }
  });

  test("random bytes, without throwing", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => !parseCertificateRequest(bytes).ok));
  });
});
