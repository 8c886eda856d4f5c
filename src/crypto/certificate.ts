import type { KeyObject } from "node:crypto";
import { hexOf } from "../base/bytes.ts";
import { messageOf } from "../base/mesh-error.ts";
import { fail, ok, type Result } from "../base/result.ts";
import {
  type DecodedExtensions,
  decodeExtensions,
  type ExtensionsByOid,
  readExtensions,
} from "./certificate-extensions.ts";
import { type DerReader, derTag, enterWhole } from "./der-reader.ts";
import { bitStringBytesOf, derHexOf, integerBytesOf, smallIntegerOf, timeSecondsOf } from "./der-values.ts";
import { type DistinguishedName, readDistinguishedName } from "./distinguished-name.ts";
import { publicKeyOf } from "./public-key-info.ts";
import { sha256 } from "./sha256.ts";
import { verifySignedBytes } from "./signature-algorithm.ts";

/** Why bytes are not an X.509 certificate that we read. */
export type CertificateRefusal =
  | "too-large"
  | "malformed"
  | "unsupported-version"
  | "bad-serial"
  | "bad-validity"
  | "unsupported-key"
  | "signature-algorithm-mismatch";

/**
 * The facts of an X.509 version 3 certificate (RFC 5280). Parsed says only that the bytes are well formed: neither
 * signature nor times nor names have been judged.
 */
export interface ParsedCertificate extends DecodedExtensions {
  readonly der: Uint8Array;
  /** SHA-256 of `der`, hexadecimal. */
  readonly sha256: string;
  /** What the signature covers, a view into `der`. */
  readonly signed: Uint8Array;
  /** DER of the AlgorithmIdentifier, hexadecimal. */
  readonly algorithm: string;
  readonly signature: Uint8Array;
  /** Hexadecimal, positive, at most 20 bytes, without leading zero bytes. */
  readonly serial: string;
  readonly issuer: DistinguishedName;
  readonly subject: DistinguishedName;
  readonly notBeforeSeconds: number;
  /** The last second in which the certificate is valid. */
  readonly notAfterSeconds: number;
  readonly publicKey: KeyObject;
  /** SubjectPublicKeyInfo DER. */
  readonly publicKeyInfo: Uint8Array;
  readonly extensions: ExtensionsByOid;
}

/** The longest certificate that is read, in bytes. */
export const certificateBytesMax = 16_384;

const serialBytesMax = 20;

/**
 * Reads one certificate: strict DER without a byte left over, version 3, no extension twice, keys as in
 * public-key-info.ts, the signature algorithm the same inside and outside. Never throws.
 */
export function parseCertificate(der: Uint8Array): Result<ParsedCertificate, CertificateRefusal> {
  if (der.byteLength > certificateBytesMax) return fail("too-large", `${der.byteLength} bytes`);
  try {
    // A copy, so that what was checked cannot change afterwards.
    return readCertificate(Uint8Array.from(der));
  } catch (error) {
    return fail("malformed", messageOf(error));
  }
}

/** Whether the certificate's signature holds under this key, with an algorithm of the key's own kind. */
export function isSignedBy(certificate: ParsedCertificate, issuerPublicKey: KeyObject): boolean {
  return verifySignedBytes(certificate, issuerPublicKey);
}

function readCertificate(der: Uint8Array): Result<ParsedCertificate, CertificateRefusal> {
  const outer = enterWhole(der);
  const signed = outer.read(derTag.sequence).der;
  const algorithm = derHexOf(outer.read(derTag.sequence));
  const signature = bitStringBytesOf(outer.read(derTag.bitString));
  outer.end();

  const inner = enterWhole(signed);
  if (!isVersion3(inner)) return fail("unsupported-version");
  const serial = integerBytesOf(inner.read(derTag.integer));
  if (!isSerial(serial)) return fail("bad-serial", hexOf(serial));
  if (derHexOf(inner.read(derTag.sequence)) !== algorithm) return fail("signature-algorithm-mismatch");
  const issuer = readDistinguishedName(inner);
  const validity = inner.enter();
  const notBeforeSeconds = readTime(validity);
  const notAfterSeconds = readTime(validity);
  validity.end();
  if (notBeforeSeconds > notAfterSeconds) return fail("bad-validity", "ends before it begins");
  const subject = readDistinguishedName(inner);
  const keyInfo = inner.read(derTag.sequence);
  const publicKey = publicKeyOf(keyInfo);
  if (!publicKey.ok) return publicKey;
  const extensions = readOptionalExtensions(inner);
  inner.end();

  return ok({
    der,
    sha256: hexOf(sha256(der)),
    signed,
    algorithm,
    signature,
    serial: hexOf(serial).replace(/^00/, ""),
    issuer,
    subject,
    notBeforeSeconds,
    notAfterSeconds,
    publicKey: publicKey.value,
    publicKeyInfo: keyInfo.der,
    extensions,
    ...decodeExtensions(extensions),
  });
}

function isVersion3(reader: DerReader): boolean {
  const version = reader.readIf(0xa0);
  if (version === undefined) return false;
  const number = enterWhole(version.der, version.tag);
  const isThree = smallIntegerOf(number.read(derTag.integer)) === 2;
  number.end();
  return isThree;
}

function isSerial(bytes: Uint8Array): boolean {
  const isPositive = (bytes[0] ?? 0x80) < 0x80 && bytes.some((byte) => byte !== 0);
  return isPositive && bytes.byteLength <= serialBytesMax;
}

function readTime(reader: DerReader): number {
  return timeSecondsOf(reader.readIf(derTag.utcTime) ?? reader.read(derTag.generalizedTime));
}

function readOptionalExtensions(reader: DerReader): ExtensionsByOid {
  const wrapped = reader.readIf(0xa3);
  if (wrapped === undefined) return new Map();
  const list = enterWhole(wrapped.der, wrapped.tag);
  const extensions = readExtensions(list.enter());
  list.end();
  return extensions;
}
