import { MeshError } from "../../../base/mesh-error.ts";
import { isOf, space, tab, tokenByte, valueByte } from "../../http1/byte-classes.ts";

/** What a header field means to HTTP/2 itself; most fields are `regular`. */
export const fieldKind = {
  regular: 0,
  method: 1,
  scheme: 2,
  authority: 3,
  path: 4,
  status: 5,
  /** Of extended CONNECT (RFC 8441, 4). */
  protocol: 6,
  unknownPseudo: 7,
  /** About one connection of HTTP/1.1; no message may have it (RFC 9113, 8.2.2). */
  connectionSpecific: 8,
  te: 9,
  contentLength: 10,
  host: 11,
  /** A name or value no field may have (RFC 9113, 8.2.1). */
  invalid: 12,
} as const;

const kinds: ReadonlyMap<string, number> = new Map<string, number>([
  [":method", fieldKind.method],
  [":scheme", fieldKind.scheme],
  [":authority", fieldKind.authority],
  [":path", fieldKind.path],
  [":status", fieldKind.status],
  [":protocol", fieldKind.protocol],
  ["connection", fieldKind.connectionSpecific],
  ["keep-alive", fieldKind.connectionSpecific],
  ["proxy-connection", fieldKind.connectionSpecific],
  ["transfer-encoding", fieldKind.connectionSpecific],
  ["upgrade", fieldKind.connectionSpecific],
  ["te", fieldKind.te],
  ["content-length", fieldKind.contentLength],
  ["host", fieldKind.host],
]);
const sensitiveNames = new Set(["authorization", "proxy-authorization", "cookie", "set-cookie"]);

/** A name and a value, both latin1, as it stands in tables and messages; one object may stand in many. */
export class HeaderField {
  readonly name: string;
  readonly value: string;
  /** One of {@link fieldKind}. */
  readonly kind: number;
  /** Never enters a compression table, here or further on (RFC 7541, 7.1.3). */
  readonly isSensitive: boolean;
  /** By the count of RFC 7541, 4.1. */
  readonly bytes: number;
  /** Which encoder holds it in its table, and as which of its insertions: saves that encoder a search. */
  holder: object | undefined = undefined;
  heldAs = 0;
  private asLine: string | undefined = undefined;

  constructor(name: string, value: string, kind: number, isSensitive: boolean) {
    this.name = name;
    this.value = value;
    this.kind = kind;
    this.isSensitive = isSensitive;
    this.bytes = name.length + value.length + 32;
  }

  /** As a header line of HTTP/1.1, with its line end. */
  get line(): string {
    this.asLine ??= `${this.name}: ${this.value}\r\n`;
    return this.asLine;
  }
}

/** A field of our own; the name in small letters. Throws ERR_HTTP2_HEADER on what no field may have. */
export function headerField(name: string, value: string): HeaderField {
  const kind = kindOfName(name);
  if (kind === fieldKind.invalid || !isValue(Buffer.from(value, "latin1")))
    throw new MeshError("ERR_HTTP2_HEADER", `not a header field: ${JSON.stringify(name)}`);
  return new HeaderField(name, value, kind, isSensitiveName(name));
}

/** The kind of a field by its name, of {@link fieldKind}. */
export function kindOfName(name: string): number {
  const kind = kinds.get(name);
  if (kind !== undefined) return kind;
  if (name.charCodeAt(0) === colon) return fieldKind.unknownPseudo;
  if (name.length === 0) return fieldKind.invalid;
  for (let index = 0; index < name.length; index += 1) {
    const byte = name.charCodeAt(index);
    if (!isOf(tokenByte, byte) || (byte >= capitalA && byte <= capitalZ)) return fieldKind.invalid;
  }
  return fieldKind.regular;
}

/** Whether values of this name are credentials: they are never indexed, so that no guess can be confirmed. */
export function isSensitiveName(name: string): boolean {
  return sensitiveNames.has(name) || name.startsWith("troth-");
}

/** Whether bytes may be a field's value: no control but tab, no white space at either end. */
export function isValue(bytes: Uint8Array, start = 0, end: number = bytes.length): boolean {
  if (end === start) return true;
  if (isSpace(bytes[start]) || isSpace(bytes[end - 1])) return false;
  for (let at = start; at < end; at += 1) if (!isOf(valueByte, bytes[at])) return false;
  return true;
}

const colon = 0x3a;
const capitalA = 0x41;
const capitalZ = 0x5a;

function isSpace(byte: number | undefined): boolean {
  return byte === space || byte === tab;
}
