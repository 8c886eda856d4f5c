import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { sameBytes } from "../base/bytes.ts";
import type { KeyPair } from "./ed25519.ts";

/** A new ECDSA key pair on P-256 (FIPS 186-5). */
export function generateP256(): KeyPair {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}

/** A private key as PKCS#8 DER (RFC 5958), without a passphrase. */
export function exportPrivateKey(privateKey: KeyObject): Uint8Array {
  return Uint8Array.from(privateKey.export({ type: "pkcs8", format: "der" }));
}

/** The private key in PKCS#8 DER that our own key store kept; throws on anything else. */
export function importPrivateKey(bytes: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.from(bytes), format: "der", type: "pkcs8" });
}

/** A private key as PKCS#8 PEM (RFC 7468), the form `node:tls` takes. */
export function pemOfPrivateKey(privateKey: KeyObject): string {
  return privateKey.export({ type: "pkcs8", format: "pem" });
}

/** SubjectPublicKeyInfo DER (RFC 5280 section 4.1) of a key's public half, from either half. */
export function exportPublicKey(key: KeyObject): Uint8Array {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  return Uint8Array.from(publicKey.export({ type: "spki", format: "der" }));
}

/** The key of a SubjectPublicKeyInfo in DER, which must be on P-256 and in its one form; undefined where it is not. */
export function p256PublicKey(publicKeyInfo: Uint8Array): KeyObject | undefined {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: Buffer.from(publicKeyInfo), format: "der", type: "spki" });
  } catch {
    return undefined;
  }
  const isP256 = key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1";
  return isP256 && sameBytes(exportPublicKey(key), publicKeyInfo) ? key : undefined;
}
