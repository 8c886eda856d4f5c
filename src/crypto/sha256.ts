import { hash } from "node:crypto";
import { concatBytes } from "../base/bytes.ts";

/** SHA-256 (FIPS 180-4) over all parts, one after the other: 32 bytes. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  const whole = parts.length === 1 && only !== undefined ? only : concatBytes(...parts);
  return plainBytes(hash("sha256", whole, "buffer"));
}

/** The same memory without the methods of Buffer, whose `slice` does not copy. */
function plainBytes(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
