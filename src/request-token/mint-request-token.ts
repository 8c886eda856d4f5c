import type { KeyObject } from "node:crypto";
import type { RandomBytes } from "../base/clock.ts";
import { keyPeriodAt } from "./key-period.ts";
import { requestDigester, type TokenRequest } from "./request-digest.ts";
import { type TokenContext, tokenTagger } from "./token-context.ts";
import {
  nonceBytes,
  type RequestTokenMode,
  requestTokenBytes,
  requestTokenModeByte,
  requestTokenVersion,
  tokenOffset,
  writeIssuedAt,
} from "./token-layout.ts";

/** The caller's end of a connection. */
export interface MinterOptions extends TokenContext {
  readonly mode: RequestTokenMode;
  /** SHA-256 of the caller's own leaf certificate in DER, the one that this connection was opened with. */
  readonly certificateFingerprint: Uint8Array;
  /** Where nonces come from: one for each token. */
  readonly nonces: NonceSource;
}

/**
 * Mints a request token: the text for the `troth-request-token` header. The client key must be the one for the key
 * period of `issuedAtMillis` (the issuer's time), for this connection's caller, mode and audience, and for the request's
 * destination.
 */
export type MintRequestToken = (
  clientKey: KeyObject,
  request: TokenRequest,
  issuedAtMillis: number,
) => string;

/** Writes 16 bytes that nobody can guess and that no other token has. */
export type NonceSource = (target: Buffer, offset: number) => void;

/** Opens the caller's end: what mints all tokens of one connection. */
export function requestTokenMinter(options: MinterOptions): MintRequestToken {
  const writeTag = tokenTagger(options);
  const writeDigest = requestDigester();
  const token = Buffer.alloc(requestTokenBytes);
  token.writeUInt8(requestTokenVersion, tokenOffset.version);
  token.writeUInt8(requestTokenModeByte[options.mode], tokenOffset.mode);
  token.set(options.certificateFingerprint, tokenOffset.certificateFingerprint);
  return (clientKey, request, issuedAtMillis) => {
    const wholeMillis = Math.floor(issuedAtMillis);
    token.writeUInt32BE(keyPeriodAt(wholeMillis), tokenOffset.keyPeriod);
    writeIssuedAt(token, wholeMillis);
    options.nonces(token, tokenOffset.nonce);
    writeDigest(request, token, tokenOffset.requestDigest);
    writeTag(clientKey, token, token, tokenOffset.tag);
    return token.toString("base64url");
  };
}

/** Nonces out of a random source, of which it draws many at once because each draw has its price. */
export function nonceSource(randomBytes: RandomBytes): NonceSource {
  let drawn = new Uint8Array(0);
  let next = 0;
  return (target, offset) => {
    if (next >= drawn.length) {
      drawn = Uint8Array.from(randomBytes(noncesPerDraw * nonceBytes));
      next = 0;
    }
    for (let at = 0; at < nonceBytes; at += 1) target[offset + at] = drawn[next + at] ?? 0;
    // Used nonces are not kept.
    drawn.fill(0, next, next + nonceBytes);
    next += nonceBytes;
  };
}

const noncesPerDraw = 256;
