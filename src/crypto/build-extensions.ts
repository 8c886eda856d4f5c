import { bytesOf } from "../base/bytes.ts";
import {
  type CertificateExtension,
  generalNameTag,
  type KeyUsage,
  keyUsages,
} from "./certificate-extensions.ts";
import { DerReader, derTag } from "./der-reader.ts";
import { bitStringBytesOf } from "./der-values.ts";
import { derInteger, derNamedBits, derObjectIdentifier, derOf, derSequence, derTrue } from "./der-writer.ts";
import { objectIdentifier } from "./object-identifiers.ts";
import { sha256 } from "./sha256.ts";

const keyIdBytes = 20;

/** basicConstraints of an end entity (critical): not a CA. */
export function endEntityConstraints(): CertificateExtension {
  return { oid: objectIdentifier.basicConstraints, critical: true, value: derSequence() };
}

/** basicConstraints of a CA (critical), with the number of CAs that may stand below it (0 to 127). */
export function authorityConstraints(pathLength: number): CertificateExtension {
  const value = derSequence(derTrue(), derInteger(Uint8Array.of(pathLength)));
  return { oid: objectIdentifier.basicConstraints, critical: true, value };
}

/** keyUsage (critical) with at least one use. */
export function keyUsageExtension(usages: readonly KeyUsage[]): CertificateExtension {
  const value = derNamedBits(usages.map((usage) => keyUsages.indexOf(usage)));
  return { oid: objectIdentifier.keyUsage, critical: true, value };
}

/** extendedKeyUsage (not critical) from dotted object identifiers. */
export function extendedKeyUsageExtension(usages: readonly string[]): CertificateExtension {
  const value = derSequence(...usages.map(derObjectIdentifier));
  return { oid: objectIdentifier.extendedKeyUsage, critical: false, value };
}

/** subjectAltName (not critical) with URIs alone. */
export function uriNamesExtension(uris: readonly string[]): CertificateExtension {
  const value = derSequence(...uris.map(uriName));
  return { oid: objectIdentifier.subjectAlternativeName, critical: false, value };
}

/** nameConstraints (critical, RFC 5280 section 4.2.1.10): below this CA, URIs have exactly this host. */
export function uriHostConstraint(host: string): CertificateExtension {
  const value = derSequence(derOf(0xa0, derSequence(uriName(host))));
  return { oid: objectIdentifier.nameConstraints, critical: true, value };
}

/** subjectKeyIdentifier (not critical) of a SubjectPublicKeyInfo. */
export function subjectKeyIdExtension(publicKeyInfo: Uint8Array): CertificateExtension {
  const value = derOf(derTag.octetString, keyIdOf(publicKeyInfo));
  return { oid: objectIdentifier.subjectKeyId, critical: false, value };
}

/** authorityKeyIdentifier (not critical) of the issuer's SubjectPublicKeyInfo. */
export function authorityKeyIdExtension(issuerPublicKeyInfo: Uint8Array): CertificateExtension {
  return keyIdExtension(keyIdOf(issuerPublicKeyInfo));
}

/** authorityKeyIdentifier (not critical): the subjectKeyIdentifier of the issuer's certificate, where it has one. */
export function issuerKeyIdExtension(issuer: {
  readonly publicKeyInfo: Uint8Array;
  /** Hexadecimal. */
  readonly subjectKeyId: string | undefined;
}): CertificateExtension {
  const { publicKeyInfo, subjectKeyId } = issuer;
  if (subjectKeyId === undefined) return authorityKeyIdExtension(publicKeyInfo);
  return keyIdExtension(Uint8Array.from(Buffer.from(subjectKeyId, "hex")));
}

function keyIdExtension(keyId: Uint8Array): CertificateExtension {
  const value = derSequence(derOf(0x80, keyId));
  return { oid: objectIdentifier.authorityKeyId, critical: false, value };
}

/** The leftmost 160 bits of the SHA-256 of the key (RFC 7093 section 2, method 1). */
function keyIdOf(publicKeyInfo: Uint8Array): Uint8Array {
  const reader = new DerReader(publicKeyInfo).enter();
  reader.read(derTag.sequence);
  return sha256(bitStringBytesOf(reader.read(derTag.bitString))).subarray(0, keyIdBytes);
}

function uriName(text: string): Uint8Array {
  return derOf(generalNameTag.uri, bytesOf(text));
}
