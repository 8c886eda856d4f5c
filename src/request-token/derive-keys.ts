import { createSecretKey, hkdfSync, type KeyObject } from "node:crypto";
import { lengthPrefixed } from "./length-prefixed.ts";
import { type RequestTokenMode, requestTokenModeByte } from "./token-layout.ts";

/** How many bytes a root key, an audience key and a client key have. */
export const requestTokenKeyBytes = 32;

/** What a client key is good for; a key for anything else is another key. */
export interface ClientKeyBinding {
  readonly mode: RequestTokenMode;
  /** The service prefix asked for. */
  readonly destination: string;
  /** SHA-256 of the caller's leaf certificate in DER. */
  readonly certificateFingerprint: Uint8Array;
  readonly spiffeId: string;
}

/** The 32 bytes of a key that were kept or carried as a key that `node:crypto` uses without copying them again. */
export function importRequestTokenKey(bytes: Uint8Array): KeyObject {
  if (bytes.byteLength !== requestTokenKeyBytes) throw new RangeError(`a key of ${bytes.byteLength} bytes`);
  return createSecretKey(bytes);
}

/**
 * The key that one audience (a proxy process, `<instance uuid>/<boot id>`) checks request tokens of one key period by:
 * HKDF-SHA256 (RFC 5869) of the issuer's root key.
 */
export function deriveAudienceKey(rootKey: KeyObject, keyPeriod: number, audience: string): KeyObject {
  const salt = Buffer.alloc(periodBytes);
  salt.writeUInt32BE(keyPeriod, periodBytes / 2);
  return derive(rootKey, salt, Buffer.concat([audienceKeyDomain, lengthPrefixed(audience)]));
}

/** The key by which one caller mints request tokens for one destination at one audience in one key period. */
export function deriveClientKey(audienceKey: KeyObject, binding: ClientKeyBinding): KeyObject {
  const mode = Buffer.of(requestTokenModeByte[binding.mode]);
  const names = lengthPrefixed(binding.destination, binding.spiffeId);
  return derive(audienceKey, binding.certificateFingerprint, Buffer.concat([clientKeyDomain, mode, names]));
}

const audienceKeyDomain = Buffer.from("troth/1 request-token audience key\0");
const clientKeyDomain = Buffer.from("troth/1 request-token client key\0");
const periodBytes = 8;

function derive(key: KeyObject, salt: Uint8Array, info: Uint8Array): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync("sha256", key, salt, info, requestTokenKeyBytes)));
}
