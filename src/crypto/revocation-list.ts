import type { KeyObject } from "node:crypto";
import { hexOf } from "../base/bytes.ts";
import { messageOf } from "../base/mesh-error.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { authorityKeyIdOf, type ExtensionsByOid, readExtensions } from "./certificate-extensions.ts";
import {
  type DerElement,
  type DerReader,
  derTag,
  enterWhole,
  MalformedDer,
  readWhole,
} from "./der-reader.ts";
import { bitStringBytesOf, derHexOf, integerBytesOf, smallIntegerOf, timeSecondsOf } from "./der-values.ts";
import { type DistinguishedName, readDistinguishedName } from "./distinguished-name.ts";
import { objectIdentifier } from "./object-identifiers.ts";
import { type SignedBytes, verifySignedBytes } from "./signature-algorithm.ts";

/** Reason codes of RFC 5280 section 5.3.1 by their number; 7 is not used. */
export const revocationReasons = [
  "unspecified",
  "key-compromise",
  "ca-compromise",
  "affiliation-changed",
  "superseded",
  "cessation-of-operation",
  "certificate-hold",
  "unused",
  "remove-from-crl",
  "privilege-withdrawn",
  "aa-compromise",
] as const;

/** A certificate that a list names. */
export interface RevokedSerial {
  /** Hexadecimal, without leading zero bytes. */
  readonly serial: string;
  /** Whole seconds since 1970. */
  readonly atSeconds: number;
  readonly reason: (typeof revocationReasons)[number];
}

/** Why bytes are not a revocation list that we read. */
export type RevocationListRefusal = "too-large" | "malformed" | "unsupported-version" | "unknown-extension";

/** The facts of an X.509 version 2 revocation list (RFC 5280 section 5). Parsed says only that it is well formed. */
export interface ParsedRevocationList extends SignedBytes {
  readonly der: Uint8Array;
  readonly issuer: DistinguishedName;
  readonly thisUpdateSeconds: number;
  readonly nextUpdateSeconds: number;
  readonly number: bigint;
  /** Hexadecimal. */
  readonly authorityKeyId: string | undefined;
  readonly revoked: ReadonlyMap<string, RevokedSerial>;
}

/** The longest revocation list that is read, in bytes. */
export const revocationListBytesMax = 8 * 1024 * 1024;

const numberBytesMax = 20;

/** Reads one list: strict DER without a byte left over, complete (neither a delta nor indirect), numbered. Never throws. */
export function parseRevocationList(der: Uint8Array): Result<ParsedRevocationList, RevocationListRefusal> {
  if (der.byteLength > revocationListBytesMax) return fail("too-large", `${der.byteLength} bytes`);
  try {
    return readList(Uint8Array.from(der));
  } catch (error) {
    return fail("malformed", messageOf(error));
  }
}

/** Whether the list's signature holds under this key, with an algorithm of the key's own kind. */
export function isListSignedBy(list: ParsedRevocationList, issuerPublicKey: KeyObject): boolean {
  return verifySignedBytes(list, issuerPublicKey);
}

function readList(der: Uint8Array): Result<ParsedRevocationList, RevocationListRefusal> {
  const outer = enterWhole(der);
  const signed = outer.read(derTag.sequence).der;
  const algorithm = derHexOf(outer.read(derTag.sequence));
  const signature = bitStringBytesOf(outer.read(derTag.bitString));
  outer.end();

  const inner = enterWhole(signed);
  const version = inner.readIf(derTag.integer);
  if (version === undefined || smallIntegerOf(version) !== 1) return fail("unsupported-version");
  if (derHexOf(inner.read(derTag.sequence)) !== algorithm) throw new MalformedDer("two signature algorithms");
  const issuer = readDistinguishedName(inner);
  const thisUpdateSeconds = readTime(inner);
  const nextUpdateSeconds = readTime(inner);
  const entries = inner.readIf(derTag.sequence);
  const revoked = entries === undefined ? new Map<string, RevokedSerial>() : readEntries(entries);
  const wrapped = enterWhole(inner.read(0xa0).der, 0xa0);
  const extensions = readExtensions(wrapped.enter());
  wrapped.end();
  inner.end();
  // A delta, or a list for others than its issuer, says less than it seems to; both say so in a critical extension.
  const critical = [...extensions.values()].find((extension) => extension.critical);
  if (critical !== undefined) return fail("unknown-extension", critical.oid);
  const authority = extensions.get(objectIdentifier.authorityKeyId);
  return ok({
    der,
    signed,
    algorithm,
    signature,
    issuer,
    thisUpdateSeconds,
    nextUpdateSeconds,
    number: numberOf(extensions),
    authorityKeyId: authority === undefined ? undefined : authorityKeyIdOf(authority.value),
    revoked,
  });
}

function readEntries({ der }: DerElement): ReadonlyMap<string, RevokedSerial> {
  const list = enterWhole(der);
  const revoked = new Map<string, RevokedSerial>();
  do {
    const entry = list.enter();
    const serial = hexOf(integerBytesOf(entry.read(derTag.integer))).replace(/^00/, "");
    const atSeconds = readTime(entry);
    const reason = entry.isAtEnd ? "unspecified" : reasonOf(readExtensions(entry.enter()));
    entry.end();
    if (revoked.has(serial)) throw new MalformedDer(`${serial} twice`);
    revoked.set(serial, { serial, atSeconds, reason });
  } while (!list.isAtEnd);
  return revoked;
}

function reasonOf(extensions: ExtensionsByOid): RevokedSerial["reason"] {
  for (const { oid, critical } of extensions.values())
    if (critical) throw new MalformedDer(`critical extension ${oid} of an entry`);
  const extension = extensions.get(objectIdentifier.reasonCode);
  if (extension === undefined) return "unspecified";
  const reason = revocationReasons[smallIntegerOf(readWhole(extension.value, derTag.enumerated))];
  if (reason === undefined || reason === "unused") throw new MalformedDer("no such reason");
  return reason;
}

function numberOf(extensions: ExtensionsByOid): bigint {
  const extension = extensions.get(objectIdentifier.crlNumber);
  if (extension === undefined) throw new MalformedDer("no number");
  const bytes = integerBytesOf(readWhole(extension.value, derTag.integer));
  if ((bytes[0] ?? 0x80) >= 0x80 || bytes.byteLength > numberBytesMax) throw new MalformedDer("bad number");
  return BigInt(`0x${hexOf(bytes)}`);
}

function readTime(reader: DerReader): number {
  return timeSecondsOf(reader.readIf(derTag.utcTime) ?? reader.read(derTag.generalizedTime));
}
