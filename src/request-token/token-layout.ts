/** How the caller came by the token: minted by its proxy under a grant, or by the issuer for this one request. */
export type RequestTokenMode = "granted" | "per-request";

/** The mode as the token's second byte. */
export const requestTokenModeByte: Readonly<Record<RequestTokenMode, number>> = {
  "per-request": 1,
  granted: 2,
};

/** The mode that a token's second byte stands for, if it stands for any. */
export function requestTokenModeOf(byte: number): RequestTokenMode | undefined {
  if (byte === requestTokenModeByte.granted) return "granted";
  return byte === requestTokenModeByte["per-request"] ? "per-request" : undefined;
}

/** The only version of request tokens. */
export const requestTokenVersion = 1;

/** Length of a request token in bytes, and as text. */
export const requestTokenBytes = 126;
/** Length of a request token as text: base64url without padding. */
export const requestTokenCharacters = 168;

/** Where each field begins. */
export const tokenOffset = {
  version: 0,
  mode: 1,
  keyPeriod: 2,
  issuedAt: 6,
  nonce: 14,
  certificateFingerprint: 30,
  requestDigest: 62,
  tag: 94,
} as const;

/** Length of the nonce in bytes. */
export const nonceBytes = 16;
/** Length of the certificate's fingerprint, the request digest, the channel binding and the tag in bytes: SHA-256. */
export const digestBytes = 32;

/** 2^32: a time in milliseconds is written as two halves, since `node:buffer` reads 64 bits only as a BigInt. */
const half = 0x1_0000_0000;

/** Writes a time (milliseconds since 1970) as uint64. */
export function writeIssuedAt(bytes: Buffer, millis: number): void {
  bytes.writeUInt32BE(Math.floor(millis / half), tokenOffset.issuedAt);
  bytes.writeUInt32BE(millis % half, tokenOffset.issuedAt + 4);
}

/** The largest first half of a time: times end below 2^53, so that every implementation counts them exactly. */
export const largestFirstHalf = 0x1f_ffff;

/** The time in a token, in milliseconds since 1970. */
export function readIssuedAt(bytes: Buffer): number {
  return bytes.readUInt32BE(tokenOffset.issuedAt) * half + bytes.readUInt32BE(tokenOffset.issuedAt + 4);
}
