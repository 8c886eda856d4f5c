import type { KeyObject } from "node:crypto";
import { algorithmFor, extensionList, signedSequence } from "./build-certificate.ts";
import type { CertificateExtension } from "./certificate-extensions.ts";
import { derTag } from "./der-reader.ts";
import { derInteger, derOf, derSequence, derTime } from "./der-writer.ts";
import { objectIdentifier } from "./object-identifiers.ts";
import { type RevokedSerial, revocationReasons } from "./revocation-list.ts";

/** What a revocation list is to say. */
export interface RevocationListContent {
  /** DER of the issuing CA's subject. */
  readonly issuer: Uint8Array;
  /** The issuing CA's subject key identifier. */
  readonly authorityKeyId: Uint8Array;
  /** Larger than that of every list before (RFC 5280 section 5.2.3). */
  readonly number: number;
  /** Whole seconds since 1970. */
  readonly thisUpdateSeconds: number;
  /** Whole seconds since 1970; there will be another one by then. */
  readonly nextUpdateSeconds: number;
  readonly revoked: readonly RevokedSerial[];
}

/** A version 2 revocation list (RFC 5280 section 5), signed with a P-256 or Ed25519 key. */
export function buildRevocationList(content: RevocationListContent, issuerPrivateKey: KeyObject): Uint8Array {
  const algorithm = algorithmFor(issuerPrivateKey);
  const { authorityKeyId, number, revoked } = content;
  const extensions: CertificateExtension[] = [
    {
      oid: objectIdentifier.authorityKeyId,
      critical: false,
      value: derSequence(derOf(0x80, authorityKeyId)),
    },
    { oid: objectIdentifier.crlNumber, critical: false, value: derInteger(bytesOfNumber(number)) },
  ];
  const toBeSigned = derSequence(
    derInteger(Uint8Array.of(1)),
    algorithm,
    content.issuer,
    derTime(content.thisUpdateSeconds),
    derTime(content.nextUpdateSeconds),
    // Left out where there is none: an empty list of them is not allowed (section 5.1.2.6).
    ...(revoked.length === 0 ? [] : [derSequence(...revoked.map(entryOf))]),
    derOf(0xa0, extensionList(extensions)),
  );
  return signedSequence(toBeSigned, algorithm, issuerPrivateKey);
}

function entryOf({ serial, atSeconds, reason }: RevokedSerial): Uint8Array {
  const code = revocationReasons.indexOf(reason);
  const value = derOf(derTag.enumerated, Uint8Array.of(code));
  // "unspecified" is said by saying nothing (section 5.3.1).
  const extensions =
    code === 0 ? [] : [extensionList([{ oid: objectIdentifier.reasonCode, critical: false, value }])];
  return derSequence(derInteger(Buffer.from(serial, "hex")), derTime(atSeconds), ...extensions);
}

function bytesOfNumber(number: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(number));
  return bytes;
}
