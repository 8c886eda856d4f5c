import { hexOf, textOf } from "../base/bytes.ts";
import { type DerElement, derTag, MalformedDer, readWhole } from "./der-reader.ts";

/** Demands a BOOLEAN that is true: 0xff, and FALSE is everywhere a default that DER leaves out (X.690 section 11). */
export function demandTrue({ content }: DerElement): void {
  if (content.byteLength !== 1 || content[0] !== 0xff) throw new MalformedDer("boolean other than TRUE");
}

/** The bytes of an INTEGER in its shortest two's complement form. */
export function integerBytesOf({ content }: DerElement): Uint8Array {
  const [first, second] = content;
  if (first === undefined) throw new MalformedDer("empty integer");
  if (second !== undefined && ((first === 0x00 && second < 0x80) || (first === 0xff && second >= 0x80))) {
    throw new MalformedDer("integer not in its shortest form");
  }
  return content;
}

/** The value of an INTEGER between 0 and 127. */
export function smallIntegerOf(element: DerElement): number {
  const [value, ...rest] = integerBytesOf(element);
  if (value === undefined || value >= 0x80 || rest.length > 0) throw new MalformedDer("integer above 127");
  return value;
}

/** The bytes of a BIT STRING that is a whole number of bytes. */
export function bitStringBytesOf({ content }: DerElement): Uint8Array {
  if (content[0] !== 0x00) throw new MalformedDer("bit string that is no whole number of bytes");
  return content.subarray(1);
}

/** The numbers of the bits set in a named-bit BIT STRING, which DER ends with a set bit (X.690 section 11.2). */
export function namedBitsOf({ content }: DerElement): ReadonlySet<number> {
  const unusedCount = content[0];
  const bits = new Set<number>();
  if (unusedCount === undefined || unusedCount > 7) throw new MalformedDer("bad count of unused bits");
  for (let bit = 0; bit < (content.byteLength - 1) * 8; bit += 1) {
    if (((content[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0) bits.add(bit);
  }
  const lastBit = (content.byteLength - 1) * 8 - unusedCount - 1;
  if (Math.max(-1, ...bits) !== lastBit) throw new MalformedDer("named bits not in their shortest form");
  return bits;
}

/** The dotted form of an OBJECT IDENTIFIER; arcs may have any size (`2.25.` is followed by 128 bits). */
export function objectIdentifierOf({ content }: DerElement): string {
  const arcs: bigint[] = [];
  let arc = 0n;
  let isInside = false;
  for (const byte of content) {
    if (!isInside && byte === 0x80) throw new MalformedDer("arc not in its shortest form");
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    isInside = byte >= 0x80;
    if (!isInside) {
      arcs.push(arc);
      arc = 0n;
    }
  }
  const [first, ...rest] = arcs;
  if (isInside || first === undefined) throw new MalformedDer("object identifier ends inside an arc");
  const root = first < 80n ? first / 40n : 2n;
  return [root, first - root * 40n, ...rest].join(".");
}

/** The characters of an IA5String or of anything tagged like one: ASCII only. */
export function asciiOf({ content }: DerElement): string {
  if (content.some((byte) => byte >= 0x80)) throw new MalformedDer("character outside ASCII");
  return Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString("latin1");
}

/** Seconds since 1970 of a Time: UTCTime up to 2049, GeneralizedTime from 2050, both in Zulu (RFC 5280 4.1.2.5). */
export function timeSecondsOf(element: DerElement): number {
  const text = asciiOf(element);
  const isUtcTime = element.tag === derTag.utcTime;
  if (!(isUtcTime ? /^[0-9]{12}Z$/ : /^[0-9]{14}Z$/).test(text)) throw new MalformedDer("bad time");
  const long = isUtcTime ? `${Number(text.slice(0, 2)) < 50 ? "20" : "19"}${text}` : text;
  if (!isUtcTime && long < "2050") throw new MalformedDer("time before 2050 as GeneralizedTime");
  const iso = long.replace(/^(....)(..)(..)(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6.000Z");
  const millis = Date.parse(iso);
  // Date.parse lets hour 24 pass, and some dates that do not exist.
  if (Number.isNaN(millis) || new Date(millis).toISOString() !== iso) throw new MalformedDer("no such time");
  return millis / 1000;
}

/** Hexadecimal of an element with tag and length: for comparison with a known encoding. */
export function derHexOf({ der }: DerElement): string {
  return hexOf(der);
}

/** The text of bytes that must be exactly one UTF8String; undefined where they are anything else. Never throws. */
export function textOfDer(bytes: Uint8Array): string | undefined {
  try {
    return textOf(readWhole(bytes, derTag.utf8String).content);
  } catch {
    return undefined;
  }
}
