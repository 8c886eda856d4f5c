import { type KeyObject, verify } from "node:crypto";

/** Signed bytes with the DER of the AlgorithmIdentifier in hexadecimal, as certificates and requests carry them. */
export interface SignedBytes {
  readonly signed: Uint8Array;
  readonly algorithm: string;
  readonly signature: Uint8Array;
}

interface SignatureAlgorithm {
  readonly keyType: "ec" | "ed25519" | "rsa";
  /** Absent where the algorithm brings its own. */
  readonly digest?: "sha256" | "sha384" | "sha512";
}

/** AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758 section 3.2): parameters absent. */
export const ecdsaSha256 = "300a06082a8648ce3d040302";

/** AlgorithmIdentifier of Ed25519 (RFC 8410 section 3). */
export const ed25519 = "300506032b6570";

// Whole encodings, parameters included, so that there is nothing to interpret.
const algorithms: ReadonlyMap<string, SignatureAlgorithm> = new Map<string, SignatureAlgorithm>([
  [ecdsaSha256, { keyType: "ec", digest: "sha256" }],
  ["300a06082a8648ce3d040303", { keyType: "ec", digest: "sha384" }],
  [ed25519, { keyType: "ed25519" }],
  ["300d06092a864886f70d01010b0500", { keyType: "rsa", digest: "sha256" }],
  ["300d06092a864886f70d01010c0500", { keyType: "rsa", digest: "sha384" }],
  ["300d06092a864886f70d01010d0500", { keyType: "rsa", digest: "sha512" }],
]);

/**
 * Whether the signature holds under this key. False for an algorithm outside the list or of another kind than the
 * key: `crypto.verify` falls back to a default digest where none is named, so the table decides, not the key.
 */
export function verifySignedBytes(document: SignedBytes, publicKey: KeyObject): boolean {
  const algorithm = algorithms.get(document.algorithm);
  if (algorithm === undefined || algorithm.keyType !== publicKey.asymmetricKeyType) return false;
  try {
    return verify(algorithm.digest, document.signed, publicKey, document.signature);
  } catch {
    return false;
  }
}
