import { constants, type KeyObject, sign, verify } from "node:crypto";

/** The signature algorithms of tokens (SPIFFE JWT-SVID section 2.1): no HMAC, no EdDSA, never `none`. */
export const joseAlgorithms = [
  "RS256",
  "RS384",
  "RS512",
  "ES256",
  "ES384",
  "ES512",
  "PS256",
  "PS384",
  "PS512",
] as const;

/** The name of such an algorithm (RFC 7518, section 3.1). */
export type JoseAlgorithm = (typeof joseAlgorithms)[number];

const rsaModulusBitsMin = 2048;
// A longer key makes each verification cost milliseconds, for whoever presents it.
const rsaModulusBitsMax = 4096;
const curves: ReadonlyMap<JoseAlgorithm, { readonly name: string; readonly signatureBytes: number }> =
  new Map([
    ["ES256", { name: "prime256v1", signatureBytes: 64 }],
    ["ES384", { name: "secp384r1", signatureBytes: 96 }],
    ["ES512", { name: "secp521r1", signatureBytes: 132 }],
  ]);

/** Whether a value names one of these algorithms. */
export function isJoseAlgorithm(value: unknown): value is JoseAlgorithm {
  return joseAlgorithms.some((name) => name === value);
}

/** Whether a key is of the kind, on the curve or of the strength that an algorithm takes: RSA of 2048 to 4096 bits. */
export function fitsAlgorithm(key: KeyObject, algorithm: JoseAlgorithm): boolean {
  const curve = curves.get(algorithm);
  if (curve === undefined) {
    const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
    return key.asymmetricKeyType === "rsa" && bits >= rsaModulusBitsMin && bits <= rsaModulusBitsMax;
  }
  return key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === curve.name;
}

/** Verifies a JWS signature (RFC 7518, sections 3.3 to 3.5) by a key that fits the algorithm; false for any other. */
export function verifyJws(
  algorithm: JoseAlgorithm,
  key: KeyObject,
  signed: { readonly input: Uint8Array; readonly signature: Uint8Array },
): boolean {
  if (!fitsAlgorithm(key, algorithm)) return false;
  const curve = curves.get(algorithm);
  const hash = `sha${algorithm.slice(2)}`;
  if (curve !== undefined)
    return (
      signed.signature.byteLength === curve.signatureBytes &&
      verify(hash, signed.input, { key, dsaEncoding: "ieee-p1363" }, signed.signature)
    );
  const padding = algorithm.startsWith("PS")
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    : { padding: constants.RSA_PKCS1_PADDING };
  return verify(hash, signed.input, { key, ...padding }, signed.signature);
}

/** Signs by ES256 (RFC 7518, section 3.4), the one algorithm in which tokens are issued; takes a private key on P-256. */
export function signEs256(key: KeyObject, input: Uint8Array): Uint8Array {
  return Uint8Array.from(sign("sha256", input, { key, dsaEncoding: "ieee-p1363" }));
}
