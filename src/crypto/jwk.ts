import { createPublicKey, type KeyObject, type webcrypto } from "node:crypto";
import { fail, ok, type Result } from "../base/result.ts";
import { bytesOfBase64Url, type TokenObject } from "./compact-jws.ts";

/** Why a JWK is not a public key that tokens may be verified by. */
export type JwkRefusal = "private-key" | "unsupported-key" | "malformed-key";

const rsaExponent = "AQAB";
/** Members that only a private or a symmetric key has (RFC 7518, section 6). */
const secretMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
const coordinateBytesOf = new Map<unknown, number>([
  ["P-256", 32],
  ["P-384", 48],
  ["P-521", 66],
]);

/**
 * The public key in a JWK (RFC 7517): on P-256, P-384 or P-521, or RSA with exponent 65537, all numbers in their one
 * spelling and points on their curve. What else the JWK says of the key is for the caller to judge, as is the strength
 * of RSA (see fitsAlgorithm).
 */
export function parsePublicJwk(jwk: TokenObject): Result<KeyObject, JwkRefusal> {
  if (secretMembers.some((name) => Object.hasOwn(jwk, name))) return fail("private-key");
  const numbers = jwk["kty"] === "RSA" ? rsaNumbers(jwk) : pointOf(jwk);
  if (!numbers.ok) return numbers;
  try {
    return ok(createPublicKey({ key: numbers.value, format: "jwk" }));
  } catch {
    return fail("malformed-key", "not a point of its curve, or no modulus");
  }
}

/** The JWK of a public key, or of the public half of a private one: the numbers alone, without `alg`, `use` and `kid`. */
export function publicJwkOf(key: KeyObject): Readonly<Record<string, string>> {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  const { kty = "", crv, x, y, n, e } = publicKey.export({ format: "jwk" });
  const members = Object.entries({ kty, crv, x, y, n, e });
  return Object.fromEntries(members.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}

function rsaNumbers(jwk: TokenObject): Result<webcrypto.JsonWebKey, JwkRefusal> {
  const { n, e } = jwk;
  const modulus = typeof n === "string" ? bytesOfBase64Url(n) : undefined;
  if (typeof n !== "string" || modulus === undefined || modulus[0] === 0 || typeof e !== "string")
    return fail("malformed-key", "modulus or exponent");
  return e === rsaExponent ? ok({ kty: "RSA", n, e }) : fail("unsupported-key", `RSA with exponent ${e}`);
}

function pointOf(jwk: TokenObject): Result<webcrypto.JsonWebKey, JwkRefusal> {
  const { kty, crv, x, y } = jwk;
  const coordinateBytes = coordinateBytesOf.get(crv);
  if (kty !== "EC" || typeof crv !== "string" || coordinateBytes === undefined)
    return fail("unsupported-key", `${JSON.stringify(kty)} ${JSON.stringify(crv)}`.slice(0, 64));
  const isNumber = (text: unknown): text is string =>
    typeof text === "string" && bytesOfBase64Url(text)?.byteLength === coordinateBytes;
  return isNumber(x) && isNumber(y)
    ? ok({ kty, crv, x, y })
    : fail("malformed-key", `expected two numbers of ${coordinateBytes} bytes`);
}
