import { type KeyObject, sign } from "node:crypto";
import { MeshError } from "../base/mesh-error.ts";
import {
  endEntityConstraints,
  extendedKeyUsageExtension,
  keyUsageExtension,
  subjectKeyIdExtension,
  uriNamesExtension,
} from "./build-extensions.ts";
import type { CertificateExtension } from "./certificate-extensions.ts";
import { derTag } from "./der-reader.ts";
import {
  derBitString,
  derInteger,
  derObjectIdentifier,
  derOf,
  derSequence,
  derText,
  derTime,
  derTrue,
} from "./der-writer.ts";
import { objectIdentifier } from "./object-identifiers.ts";
import { exportPublicKey } from "./p256.ts";
import { ecdsaSha256, ed25519 } from "./signature-algorithm.ts";

/** What a certificate is to say. */
export interface CertificateContent {
  /** Big-endian, positive, 1 to 20 bytes. */
  readonly serial: Uint8Array;
  /** DER of a Name, as {@link distinguishedName} or a parsed certificate gives it. */
  readonly issuer: Uint8Array;
  /** DER of a Name. */
  readonly subject: Uint8Array;
  /** Whole seconds since 1970. */
  readonly notBeforeSeconds: number;
  /** Whole seconds since 1970; the last valid one. */
  readonly notAfterSeconds: number;
  /** SubjectPublicKeyInfo DER. */
  readonly publicKeyInfo: Uint8Array;
  /** At least one. */
  readonly extensions: readonly CertificateExtension[];
}

/** What a self-signed end-entity certificate is to say besides its key. */
export type SelfSignedContent = Pick<
  CertificateContent,
  "serial" | "subject" | "notBeforeSeconds" | "notAfterSeconds"
>;

const ecdsaSha256Algorithm = Uint8Array.from(Buffer.from(ecdsaSha256, "hex"));
const ed25519Algorithm = Uint8Array.from(Buffer.from(ed25519, "hex"));

/** DER of a Name of an organization and, where given, a common name (X.520 allows 64 characters each). */
export function distinguishedName(organization: string, commonName?: string): Uint8Array {
  const organizationName = relativeName(objectIdentifier.organization, organization);
  if (commonName === undefined) return derSequence(organizationName);
  return derSequence(organizationName, relativeName(objectIdentifier.commonName, commonName));
}

/** A version 3 certificate (RFC 5280), signed with a P-256 or Ed25519 key; throws for another kind of key. */
export function buildCertificate(content: CertificateContent, issuerPrivateKey: KeyObject): Uint8Array {
  const algorithm = algorithmFor(issuerPrivateKey);
  const toBeSigned = derSequence(
    derOf(0xa0, derInteger(Uint8Array.of(2))),
    derInteger(content.serial),
    algorithm,
    content.issuer,
    derSequence(derTime(content.notBeforeSeconds), derTime(content.notAfterSeconds)),
    content.subject,
    content.publicKeyInfo,
    derOf(0xa3, extensionList(content.extensions)),
  );
  return signedSequence(toBeSigned, algorithm, issuerPrivateKey);
}

/** A certificate request (PKCS#10, RFC 2986) for a P-256 or Ed25519 key, with the URIs that are asked for. */
export function buildCertificateRequest(privateKey: KeyObject, uris: readonly string[] = []): Uint8Array {
  const algorithm = algorithmFor(privateKey);
  const attributes = uris.length === 0 ? [] : [extensionRequest([uriNamesExtension(uris)])];
  const toBeSigned = derSequence(
    derInteger(Uint8Array.of(0)),
    derSequence(),
    exportPublicKey(privateKey),
    derOf(0xa0, ...attributes),
  );
  return signedSequence(toBeSigned, algorithm, privateKey);
}

/** A self-signed certificate by which the holder of a P-256 or Ed25519 key shows it in TLS, as client or server. */
export function buildSelfSignedCertificate(content: SelfSignedContent, privateKey: KeyObject): Uint8Array {
  const publicKeyInfo = exportPublicKey(privateKey);
  const extensions = [
    endEntityConstraints(),
    keyUsageExtension(["digitalSignature"]),
    extendedKeyUsageExtension([objectIdentifier.serverAuth, objectIdentifier.clientAuth]),
    subjectKeyIdExtension(publicKeyInfo),
  ];
  return buildCertificate({ ...content, issuer: content.subject, publicKeyInfo, extensions }, privateKey);
}

/** DER of the AlgorithmIdentifier that a key signs with; throws for another kind than P-256 and Ed25519. */
export function algorithmFor(privateKey: KeyObject): Uint8Array {
  if (privateKey.asymmetricKeyDetails?.namedCurve === "prime256v1") return ecdsaSha256Algorithm;
  if (privateKey.asymmetricKeyType === "ed25519") return ed25519Algorithm;
  throw new MeshError("ERR_CRYPTO_KEY_TYPE", "neither a P-256 nor an Ed25519 key");
}

/** What was to be signed, the algorithm and the signature, as X.509 puts them together. */
export function signedSequence(
  toBeSigned: Uint8Array,
  algorithm: Uint8Array,
  privateKey: KeyObject,
): Uint8Array {
  const digest = privateKey.asymmetricKeyType === "ed25519" ? undefined : "sha256";
  return derSequence(toBeSigned, algorithm, derBitString(sign(digest, toBeSigned, privateKey)));
}

function relativeName(type: string, text: string): Uint8Array {
  return derOf(derTag.set, derSequence(derObjectIdentifier(type), derText(text)));
}

function extensionRequest(extensions: readonly CertificateExtension[]): Uint8Array {
  const values = derOf(derTag.set, extensionList(extensions));
  return derSequence(derObjectIdentifier(objectIdentifier.extensionRequest), values);
}

/** DER of a SEQUENCE OF Extension. */
export function extensionList(extensions: readonly CertificateExtension[]): Uint8Array {
  const list = extensions.map(({ oid, critical, value }) =>
    derSequence(derObjectIdentifier(oid), ...(critical ? [derTrue()] : []), derOf(derTag.octetString, value)),
  );
  return derSequence(...list);
}
