import { createHash, hash } from "node:crypto";

/** SHA-256 (FIPS 180-4) over all parts, one after the other: 32 bytes. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return plainBytes(hash("sha256", only, "buffer"));
  const running = createHash("sha256");
  for (const part of parts) running.update(part);
  return plainBytes(running.digest());
}

/** The same memory without the methods of Buffer, whose `slice` does not copy. */
function plainBytes(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
