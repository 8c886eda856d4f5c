import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from "node:crypto";
import { bytesOf, concatBytes } from "../base/bytes.ts";
import type { KeyPair } from "./ed25519.ts";

/** Length of a raw X25519 public key, in bytes. */
export const x25519PublicKeyBytes = 32;

const hashBytes = 32;
const aeadKeyBytes = 32;
const aeadNonceBytes = 12;
const aeadTagBytes = 16;
/** By how much what is sealed is longer than what was to be sealed, in bytes: the encapsulated key and the tag. */
export const sealedOverheadBytes: number = x25519PublicKeyBytes + aeadTagBytes;

// DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001, AES-256-GCM 0x0002 (RFC 9180 section 7).
const kemSuite = concatBytes(bytesOf("KEM"), Uint8Array.of(0, 0x20));
const suite = concatBytes(bytesOf("HPKE"), Uint8Array.of(0, 0x20, 0, 1, 0, 2));
const version = bytesOf("HPKE-v1");
const empty = new Uint8Array(0);
const baseMode = Uint8Array.of(0);
// SubjectPublicKeyInfo of every X25519 key up to the key itself (RFC 8410 section 4).
const keyInfoPrefix = Uint8Array.of(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00);

/** What a sealed message is bound to: who opens it must name the same. */
export interface SealBinding {
  /** What the message is for: a text of its own for every use. */
  readonly info: Uint8Array;
  /** What it belongs to. */
  readonly about: Uint8Array;
}

/** A new X25519 key pair (RFC 7748), to be sealed to. */
export function generateX25519(): KeyPair {
  return generateKeyPairSync("x25519");
}

/** The raw 32 bytes of an X25519 public key. */
export function x25519PublicKeyOf({ publicKey }: Pick<KeyPair, "publicKey">): Uint8Array {
  return Uint8Array.from(
    publicKey.export({ type: "spki", format: "der" }).subarray(keyInfoPrefix.byteLength),
  );
}

/**
 * Seals a message so that only the holder of an X25519 key can read it: the encapsulated key and then the ciphertext of
 * HPKE in base mode, single-shot, with AES-256-GCM (RFC 9180 section 6.1). It says nothing of who sealed it. Undefined
 * where the public key is none that can be sealed to. `ephemeral` is for test vectors only.
 */
export function sealTo(
  recipient: Uint8Array,
  { info, about }: SealBinding,
  message: Uint8Array,
  ephemeral: KeyPair = generateX25519(),
): Uint8Array | undefined {
  const shared = agreed(ephemeral.privateKey, recipient);
  if (shared === undefined) return undefined;
  const encapsulated = x25519PublicKeyOf(ephemeral);
  const { key, nonce } = scheduleOf(shared, concatBytes(encapsulated, recipient), info);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(about);
  return concatBytes(encapsulated, cipher.update(message), cipher.final(), cipher.getAuthTag());
}

/** What was sealed to this key pair under this binding; undefined where it was not, or was changed on its way. */
export function openSealed(
  recipient: KeyPair,
  { info, about }: SealBinding,
  sealed: Uint8Array,
): Uint8Array | undefined {
  if (sealed.byteLength < sealedOverheadBytes) return undefined;
  const encapsulated = sealed.subarray(0, x25519PublicKeyBytes);
  const shared = agreed(recipient.privateKey, encapsulated);
  if (shared === undefined) return undefined;
  const { key, nonce } = scheduleOf(shared, concatBytes(encapsulated, x25519PublicKeyOf(recipient)), info);
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: aeadTagBytes })
    .setAAD(about)
    .setAuthTag(sealed.subarray(sealed.byteLength - aeadTagBytes));
  try {
    const message = decipher.update(sealed.subarray(x25519PublicKeyBytes, sealed.byteLength - aeadTagBytes));
    return concatBytes(message, decipher.final());
  } catch {
    return undefined;
  }
}

/** The Diffie-Hellman secret; undefined for points that would give everybody the same (RFC 7748 section 6.1). */
function agreed(privateKey: KeyObject, publicKey: Uint8Array): Uint8Array | undefined {
  if (publicKey.byteLength !== x25519PublicKeyBytes) return undefined;
  try {
    const key = Buffer.from(concatBytes(keyInfoPrefix, publicKey));
    return diffieHellman({
      privateKey,
      publicKey: createPublicKey({ key, format: "der", type: "spki" }),
    });
  } catch {
    return undefined;
  }
}

/** The key schedule of base mode (RFC 9180 sections 4.1 and 5.1). */
function scheduleOf(
  agreement: Uint8Array,
  kemContext: Uint8Array,
  info: Uint8Array,
): { readonly key: Uint8Array; readonly nonce: Uint8Array } {
  const extracted = labeledExtract(kemSuite, empty, "eae_prk", agreement);
  const shared = labeledExpand(kemSuite, extracted, { label: "shared_secret", info: kemContext }, hashBytes);
  const context = concatBytes(
    baseMode,
    labeledExtract(suite, empty, "psk_id_hash", empty),
    labeledExtract(suite, empty, "info_hash", info),
  );
  const secret = labeledExtract(suite, shared, "secret", empty);
  return {
    key: labeledExpand(suite, secret, { label: "key", info: context }, aeadKeyBytes),
    // The nonce of the first message is the base nonce, and there is no second one.
    nonce: labeledExpand(suite, secret, { label: "base_nonce", info: context }, aeadNonceBytes),
  };
}

function labeledExtract(
  suiteId: Uint8Array,
  salt: Uint8Array,
  label: string,
  material: Uint8Array,
): Uint8Array {
  return hmac(salt, concatBytes(version, suiteId, bytesOf(label), material));
}

/** HKDF-Expand (RFC 5869) of at most one block, which is all that is asked for here. */
function labeledExpand(
  suiteId: Uint8Array,
  secret: Uint8Array,
  { label, info }: { readonly label: string; readonly info: Uint8Array },
  length: number,
): Uint8Array {
  const labeled = concatBytes(Uint8Array.of(0, length), version, suiteId, bytesOf(label), info);
  return hmac(secret, concatBytes(labeled, Uint8Array.of(1))).subarray(0, length);
}

function hmac(key: Uint8Array, message: Uint8Array): Uint8Array {
  return createHmac("sha256", key).update(message).digest();
}
