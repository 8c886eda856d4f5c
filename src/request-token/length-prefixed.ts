/**
 * `lp(text)` of docs/specs/request-token.md for each text, one after the other: the length in bytes as uint32, then the
 * UTF-8 bytes. No two lists of texts have the same encoding.
 */
export function lengthPrefixed(...texts: readonly string[]): Buffer {
  return Buffer.concat(
    texts.map((text) => {
      const encoded = Buffer.allocUnsafe(lengthBytes + Buffer.byteLength(text));
      encoded.writeUInt32BE(encoded.length - lengthBytes);
      encoded.write(text, lengthBytes);
      return encoded;
    }),
  );
}

/** Writes `lp(text)` into a buffer that has room for it; the offset behind it. */
export function writeLengthPrefixed(target: Buffer, text: string, offset: number): number {
  const length = target.write(text, offset + lengthBytes);
  target.writeUInt32BE(length, offset);
  return offset + lengthBytes + length;
}

/** How many bytes the length before a text takes. */
export const lengthBytes = 4;
