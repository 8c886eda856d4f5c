import { fail, ok, type Result } from "../base/result.ts";
import {
  largestFirstHalf,
  nonceBytes,
  type RequestTokenMode,
  readIssuedAt,
  requestTokenBytes,
  requestTokenCharacters,
  requestTokenModeByte,
  requestTokenModeOf,
  requestTokenVersion,
  tokenOffset,
  writeIssuedAt,
} from "./token-layout.ts";

/** What stands in a request token. Reading one proves nothing; only a check at its audience does. */
export interface RequestToken {
  readonly mode: RequestTokenMode;
  /** Number of the key period that its key belongs to. */
  readonly keyPeriod: number;
  /** Milliseconds since 1970, in the issuer's time. */
  readonly issuedAtMillis: number;
  readonly nonce: Uint8Array;
  /** SHA-256 of the caller's leaf certificate in DER. */
  readonly certificateFingerprint: Uint8Array;
  readonly requestDigest: Uint8Array;
  readonly tag: Uint8Array;
}

/** Why a text is no request token. */
export type RequestTokenParseRefusal =
  | "request-token-malformed"
  | "request-token-version"
  | "request-token-mode";

/** Reads a request token (docs/specs/request-token.md) out of its one spelling. Never throws. */
export function parseRequestToken(text: string): Result<RequestToken, RequestTokenParseRefusal> {
  const bytes = Buffer.alloc(requestTokenBytes);
  if (!decodeRequestToken(text, bytes))
    return fail("request-token-malformed", `not ${requestTokenCharacters} characters of base64url`);
  const version = bytes.readUInt8(tokenOffset.version);
  if (version !== requestTokenVersion) return fail("request-token-version", `version ${version}`);
  const mode = requestTokenModeOf(bytes.readUInt8(tokenOffset.mode));
  if (mode === undefined) return fail("request-token-mode", `mode ${bytes.readUInt8(tokenOffset.mode)}`);
  const field = (from: number, to: number) => Uint8Array.from(bytes.subarray(from, to));
  return ok({
    mode,
    keyPeriod: bytes.readUInt32BE(tokenOffset.keyPeriod),
    issuedAtMillis: readIssuedAt(bytes),
    nonce: field(tokenOffset.nonce, tokenOffset.nonce + nonceBytes),
    certificateFingerprint: field(tokenOffset.certificateFingerprint, tokenOffset.requestDigest),
    requestDigest: field(tokenOffset.requestDigest, tokenOffset.tag),
    tag: field(tokenOffset.tag, requestTokenBytes),
  });
}

/** The one spelling of a request token. */
export function requestTokenText(token: RequestToken): string {
  const bytes = Buffer.alloc(requestTokenBytes);
  bytes.writeUInt8(requestTokenVersion, tokenOffset.version);
  bytes.writeUInt8(requestTokenModeByte[token.mode], tokenOffset.mode);
  bytes.writeUInt32BE(token.keyPeriod, tokenOffset.keyPeriod);
  writeIssuedAt(bytes, token.issuedAtMillis);
  bytes.set(token.nonce, tokenOffset.nonce);
  bytes.set(token.certificateFingerprint, tokenOffset.certificateFingerprint);
  bytes.set(token.requestDigest, tokenOffset.requestDigest);
  bytes.set(token.tag, tokenOffset.tag);
  return bytes.toString("base64url");
}

/**
 * Decodes the text of a token into 126 bytes; whether it was the one spelling of them, with a time below 2^53. Node's decoder forgives padding,
 * white space and the other alphabet, so the bytes are encoded again and compared.
 */
export function decodeRequestToken(text: string, bytes: Buffer): boolean {
  return (
    text.length === requestTokenCharacters &&
    bytes.write(text, 0, requestTokenBytes, "base64url") === requestTokenBytes &&
    bytes.toString("base64url", 0, requestTokenBytes) === text &&
    bytes.readUInt32BE(tokenOffset.issuedAt) <= largestFirstHalf
  );
}
