import { bytesOf, concatBytes } from "../base/bytes.ts";
import { MeshError } from "../base/mesh-error.ts";
import { derTag } from "./der-reader.ts";

/** One DER element with this tag around its parts (X.690 section 10.1: definite length in its shortest form). */
export function derOf(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.byteLength, 0);
  return concatBytes(Uint8Array.of(tag, ...lengthOf(length)), ...parts);
}

/** A SEQUENCE of these elements. */
export function derSequence(...elements: readonly Uint8Array[]): Uint8Array {
  return derOf(derTag.sequence, ...elements);
}

/** The BOOLEAN true; false is everywhere a default that DER leaves out. */
export function derTrue(): Uint8Array {
  return derOf(derTag.boolean, Uint8Array.of(0xff));
}

/** A non-negative INTEGER from big-endian bytes. */
export function derInteger(magnitude: Uint8Array): Uint8Array {
  const start = magnitude.findIndex((byte) => byte !== 0);
  const digits = start < 0 ? Uint8Array.of(0) : magnitude.subarray(start);
  const sign = (digits[0] ?? 0) >= 0x80 ? Uint8Array.of(0) : new Uint8Array();
  return derOf(derTag.integer, sign, digits);
}

/** A BIT STRING of whole bytes. */
export function derBitString(bytes: Uint8Array): Uint8Array {
  return derOf(derTag.bitString, Uint8Array.of(0), bytes);
}

/** A named-bit BIT STRING with these of its first 16 bits set, at least one of them. */
export function derNamedBits(bits: readonly number[]): Uint8Array {
  const byteCount = (Math.max(...bits) >> 3) + 1;
  const bytes = new Uint8Array(byteCount);
  for (const bit of bits) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return derOf(derTag.bitString, Uint8Array.of(7 - (Math.max(...bits) & 7)), bytes);
}

/** An OBJECT IDENTIFIER from its dotted form. */
export function derObjectIdentifier(dotted: string): Uint8Array {
  const [root = 0n, second = 0n, ...rest] = dotted.split(".").map(BigInt);
  return derOf(derTag.objectIdentifier, ...[root * 40n + second, ...rest].map(base128));
}

/** A UTF8String. */
export function derText(text: string): Uint8Array {
  return derOf(derTag.utf8String, bytesOf(text));
}

/** A Time from whole seconds since 1970: UTCTime up to 2049, GeneralizedTime from 2050 (RFC 5280 section 4.1.2.5). */
export function derTime(seconds: number): Uint8Array {
  const date = new Date(seconds * 1000);
  const year = date.getUTCFullYear();
  if (!Number.isSafeInteger(seconds) || !(year >= 1950 && year <= 9999)) {
    throw new MeshError("ERR_CRYPTO_TIME", `no time for a certificate: ${seconds}`);
  }
  const digits = date.toISOString().slice(0, 19).replace(/[-T:]/g, "");
  return year < 2050
    ? derOf(derTag.utcTime, bytesOf(`${digits.slice(2)}Z`))
    : derOf(derTag.generalizedTime, bytesOf(`${digits}Z`));
}

function lengthOf(length: number): readonly number[] {
  if (length < 0x80) return [length];
  if (length < 0x100) return [0x81, length];
  if (length < 0x1_0000) return [0x82, length >> 8, length & 0xff];
  if (length < 0x100_0000) return [0x83, length >> 16, (length >> 8) & 0xff, length & 0xff];
  throw new MeshError("ERR_CRYPTO_TOO_LONG", `element of ${length} bytes`);
}

function base128(arc: bigint): Uint8Array {
  const digits = [Number(arc & 0x7fn)];
  for (let rest = arc >> 7n; rest > 0n; rest >>= 7n) digits.unshift(Number(rest & 0x7fn) | 0x80);
  return Uint8Array.from(digits);
}
