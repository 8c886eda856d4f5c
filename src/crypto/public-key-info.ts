import { createPublicKey, type KeyObject } from "node:crypto";
import { messageOf } from "../base/mesh-error.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type DerElement, derTag, enterWhole } from "./der-reader.ts";
import { bitStringBytesOf, derHexOf, integerBytesOf } from "./der-values.ts";

const rsaModulusBitsMin = 2048;
// A longer key makes each verification cost milliseconds, for whoever presents it.
const rsaModulusBitsMax = 4096;

/** What is known of a key before OpenSSL sees it, by the DER of its AlgorithmIdentifier. */
const keyChecks: ReadonlyMap<string, (key: Uint8Array) => boolean> = new Map([
  ["301306072a8648ce3d020106082a8648ce3d030107", (key) => isUncompressedPoint(key, 32)], // P-256
  ["301006072a8648ce3d020106052b81040022", (key) => isUncompressedPoint(key, 48)], // P-384
  ["300506032b6570", (key) => key.byteLength === 32], // Ed25519
  ["300d06092a864886f70d0101010500", isStrongRsaKey], // RSA
]);

/**
 * The key in a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7): ECDSA on P-256 or P-384, Ed25519, or RSA of 2048 to
 * 4096 bits with exponent 65537. Anything else, and a point off its curve, is refused; throws MalformedDer.
 */
export function publicKeyOf(keyInfo: DerElement): Result<KeyObject, "unsupported-key"> {
  const reader = enterWhole(keyInfo.der);
  const algorithm = derHexOf(reader.read(derTag.sequence));
  const key = bitStringBytesOf(reader.read(derTag.bitString));
  reader.end();
  const isAcceptable = keyChecks.get(algorithm);
  if (isAcceptable === undefined) return fail("unsupported-key", `algorithm ${algorithm}`);
  if (!isAcceptable(key)) return fail("unsupported-key", "form or strength of the key");
  try {
    return ok(createPublicKey({ key: Buffer.from(keyInfo.der), format: "der", type: "spki" }));
  } catch (error) {
    return fail("unsupported-key", messageOf(error));
  }
}

function isUncompressedPoint(key: Uint8Array, coordinateBytes: number): boolean {
  return key[0] === 0x04 && key.byteLength === 1 + 2 * coordinateBytes;
}

function isStrongRsaKey(key: Uint8Array): boolean {
  const reader = enterWhole(key);
  const modulus = integerBytesOf(reader.read(derTag.integer));
  const exponent = derHexOf(reader.read(derTag.integer));
  reader.end();
  const isNegative = (modulus[0] ?? 0) >= 0x80;
  const magnitude = modulus[0] === 0x00 ? modulus.subarray(1) : modulus;
  const bits = magnitude.byteLength * 8 - Math.clz32(magnitude[0] ?? 0) + 24;
  return !isNegative && bits >= rsaModulusBitsMin && bits <= rsaModulusBitsMax && exponent === "0203010001";
}
