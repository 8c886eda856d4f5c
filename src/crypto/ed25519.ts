import { createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import { concatBytes } from "../base/bytes.ts";
import { MeshError } from "../base/mesh-error.ts";

/** A private key with its public key. */
export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** Length of a raw Ed25519 public key, in bytes. */
export const ed25519PublicKeyBytes = 32;

/** Length of an Ed25519 signature, in bytes. */
export const ed25519SignatureBytes = 64;

// SubjectPublicKeyInfo of every Ed25519 key up to the key itself (RFC 8410 section 4).
const keyInfoPrefix = Uint8Array.of(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);

/** A new Ed25519 key pair (RFC 8032). */
export function generateEd25519(): KeyPair {
  return generateKeyPairSync("ed25519");
}

/** Of keys whose bytes were asked for; a signature asks for those of its key each time. */
const knownBytes = new WeakMap<KeyObject, Uint8Array>();

/** The raw 32 bytes of an Ed25519 key's public half, from either half; throws for another kind of key. */
export function publicKeyBytes(key: KeyObject): Uint8Array {
  const known = knownBytes.get(key) ?? exportedBytes(key);
  knownBytes.set(key, known);
  return known.slice();
}

function exportedBytes(key: KeyObject): Uint8Array {
  if (key.asymmetricKeyType !== "ed25519") throw new MeshError("ERR_CRYPTO_KEY_TYPE", "not an Ed25519 key");
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  const keyInfo = publicKey.export({ type: "spki", format: "der" });
  return Uint8Array.from(keyInfo.subarray(keyInfoPrefix.byteLength));
}

/** The Ed25519 public key with these raw bytes, or undefined unless there are 32 of them. */
export function ed25519PublicKey(raw: Uint8Array): KeyObject | undefined {
  if (raw.byteLength !== ed25519PublicKeyBytes) return undefined;
  return createPublicKey({
    key: Buffer.from(concatBytes(keyInfoPrefix, raw)),
    format: "der",
    type: "spki",
  });
}

/** The 64-byte Ed25519 signature over a message; throws for another kind of key. */
export function signEd25519(privateKey: KeyObject, message: Uint8Array): Uint8Array {
  if (privateKey.asymmetricKeyType !== "ed25519") {
    throw new MeshError("ERR_CRYPTO_KEY_TYPE", "not an Ed25519 key");
  }
  return Uint8Array.from(sign(undefined, message, privateKey));
}

/** Whether this is the Ed25519 signature over the message; never throws, wrong lengths and other keys are false. */
export function verifyEd25519(publicKey: KeyObject, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.type !== "public" || publicKey.asymmetricKeyType !== "ed25519") return false;
  try {
    return verify(undefined, message, publicKey, signature);
  } catch {
    return false;
  }
}
