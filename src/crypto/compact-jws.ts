import type { KeyObject } from "node:crypto";
import { bytesOf, textOf } from "../base/bytes.ts";
import { isJsonObject, type Json } from "../base/canonical-json.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { parseStrictJson } from "../base/strict-json.ts";
import { signEs256 } from "./jose-algorithm.ts";

/** A JSON object out of a token: each name once. */
export type TokenObject = { readonly [key: string]: Json };

/** A signed token, read but not believed: nobody has looked at the signature. */
export interface CompactJws {
  readonly header: TokenObject;
  readonly claims: TokenObject;
  /** What was signed. */
  readonly input: Uint8Array;
  readonly signature: Uint8Array;
}

/** Why a text is not a signed token in its one spelling. */
export type CompactJwsRefusal = "token-too-large" | "malformed-token" | "duplicate-member";

/** The longest token, in bytes. */
export const tokenBytesMax = 8_192;

const partsOfJws = 3;

/**
 * Reads a JWS in compact serialization (RFC 7515, section 7.1) with claims in JSON: three parts of base64url in its one
 * spelling, header and claims objects of JSON in which no name stands twice. Never throws.
 */
export function readCompactJws(text: string): Result<CompactJws, CompactJwsRefusal> {
  if (text.length > tokenBytesMax) return fail("token-too-large", `${text.length} characters`);
  const parts = text.split(".", partsOfJws + 1);
  const [headerText = "", claimsText = "", signatureText = ""] = parts;
  if (parts.length !== partsOfJws) return fail("malformed-token", "expected three parts");
  const header = readObject(headerText, "header");
  if (!header.ok) return header;
  const claims = readObject(claimsText, "claims");
  if (!claims.ok) return claims;
  const signature = bytesOfBase64Url(signatureText);
  if (signature === undefined) return fail("malformed-token", "the signature is no base64url");
  const input = bytesOf(text.slice(0, headerText.length + 1 + claimsText.length));
  return ok({ header: header.value, claims: claims.value, input, signature });
}

/** Writes a JWS in compact serialization, signed by ES256 with a private key on P-256. */
export function writeCompactJws(header: TokenObject, claims: TokenObject, key: KeyObject): string {
  const input = [header, claims].map((part) => base64UrlOf(bytesOf(JSON.stringify(part)))).join(".");
  return `${input}.${base64UrlOf(signEs256(key, bytesOf(input)))}`;
}

/** Base64url without padding (RFC 4648, section 5). */
export function base64UrlOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url");
}

/** The bytes of a base64url text, or undefined unless it is the one spelling that {@link base64UrlOf} gives for them. */
export function bytesOfBase64Url(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(Buffer.from(text, "base64url"));
  return base64UrlOf(bytes) === text ? bytes : undefined;
}

function readObject(
  encoded: string,
  part: string,
): Result<TokenObject, "malformed-token" | "duplicate-member"> {
  const bytes = bytesOfBase64Url(encoded);
  const text = bytes === undefined ? undefined : textOf(bytes);
  if (text === undefined) return fail("malformed-token", `the ${part} is no base64url of UTF-8`);
  const strict = parseStrictJson(text);
  if (!strict.ok) {
    const reason = strict.reason === "duplicate-key" ? "duplicate-member" : "malformed-token";
    return fail(reason, `the ${part}: ${strict.reason} ${strict.detail}`);
  }
  const object: Json = JSON.parse(text);
  return isJsonObject(object) ? ok(object) : fail("malformed-token", `the ${part}: no object`);
}
