import type { KeyObject } from "node:crypto";
import { messageOf } from "../base/mesh-error.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { decodeExtensions, readExtensions } from "./certificate-extensions.ts";
import { type DerReader, derTag, enterWhole } from "./der-reader.ts";
import { bitStringBytesOf, derHexOf, objectIdentifierOf, smallIntegerOf } from "./der-values.ts";
import { type DistinguishedName, readDistinguishedName } from "./distinguished-name.ts";
import { objectIdentifier } from "./object-identifiers.ts";
import { publicKeyOf } from "./public-key-info.ts";
import { verifySignedBytes } from "./signature-algorithm.ts";

/** Why bytes are not a certificate request, or not one by the holder of its key. */
export type CertificateRequestRefusal =
  | "too-large"
  | "malformed"
  | "unsupported-version"
  | "unsupported-key"
  | "bad-signature";

/**
 * A PKCS#10 request (RFC 2986) whose sender has shown to hold the private key. Everything but the key is a wish:
 * an issuer decides names and times by itself.
 */
export interface CertificateRequest {
  readonly publicKey: KeyObject;
  /** SubjectPublicKeyInfo DER. */
  readonly publicKeyInfo: Uint8Array;
  readonly requestedSubject: DistinguishedName;
  readonly requestedUriNames: readonly string[];
  readonly [proven]: true;
}

declare const proven: unique symbol;

/** The longest request that is read, in bytes. */
export const certificateRequestBytesMax = 16_384;

/** Reads a request as strictly as a certificate and checks the proof of possession in it. Never throws. */
export function parseCertificateRequest(
  der: Uint8Array,
): Result<CertificateRequest, CertificateRequestRefusal> {
  if (der.byteLength > certificateRequestBytesMax) return fail("too-large", `${der.byteLength} bytes`);
  try {
    return readRequest(Uint8Array.from(der));
  } catch (error) {
    return fail("malformed", messageOf(error));
  }
}

function readRequest(der: Uint8Array): Result<CertificateRequest, CertificateRequestRefusal> {
  const outer = enterWhole(der);
  const signed = outer.read(derTag.sequence).der;
  const algorithm = derHexOf(outer.read(derTag.sequence));
  const signature = bitStringBytesOf(outer.read(derTag.bitString));
  outer.end();

  const inner = enterWhole(signed);
  if (smallIntegerOf(inner.read(derTag.integer)) !== 0) return fail("unsupported-version");
  const requestedSubject = readDistinguishedName(inner);
  const keyInfo = inner.read(derTag.sequence);
  const publicKey = publicKeyOf(keyInfo);
  if (!publicKey.ok) return publicKey;
  const requestedUriNames = readRequestedUriNames(inner);
  inner.end();

  if (!verifySignedBytes({ signed, algorithm, signature }, publicKey.value)) return fail("bad-signature");
  const request = {
    publicKey: publicKey.value,
    publicKeyInfo: keyInfo.der,
    requestedSubject,
    requestedUriNames,
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the one place where the proof was checked
  return ok(request as CertificateRequest);
}

function readRequestedUriNames(reader: DerReader): readonly string[] {
  const attributes = reader.readIf(0xa0);
  if (attributes === undefined) return [];
  const list = enterWhole(attributes.der, attributes.tag);
  const names: string[] = [];
  while (!list.isAtEnd) {
    const attribute = list.enter();
    const type = objectIdentifierOf(attribute.read(derTag.objectIdentifier));
    const values = attribute.enter(derTag.set);
    attribute.end();
    if (type !== objectIdentifier.extensionRequest) continue;
    names.push(...decodeExtensions(readExtensions(values.enter())).uriNames);
    values.end();
  }
  return names;
}
