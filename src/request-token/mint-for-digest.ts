import type { KeyObject } from "node:crypto";
import { keyPeriodAt } from "./key-period.ts";
import type { MinterOptions } from "./mint-request-token.ts";
import { tokenTagger } from "./token-context.ts";
import {
  digestBytes,
  requestTokenBytes,
  requestTokenModeByte,
  requestTokenVersion,
  tokenOffset,
  writeIssuedAt,
} from "./token-layout.ts";

/**
 * Mints one request token for a request of which only the digest is known, as the issuer does for a caller that holds no
 * key. Throws where the digest has not 32 bytes.
 */
export function mintForDigest(
  options: MinterOptions,
  clientKey: KeyObject,
  { digest, issuedAtMillis }: { readonly digest: Uint8Array; readonly issuedAtMillis: number },
): string {
  if (digest.byteLength !== digestBytes)
    throw new RangeError(`a request digest of ${digest.byteLength} bytes`);
  const token = Buffer.alloc(requestTokenBytes);
  token.writeUInt8(requestTokenVersion, tokenOffset.version);
  token.writeUInt8(requestTokenModeByte[options.mode], tokenOffset.mode);
  token.writeUInt32BE(keyPeriodAt(issuedAtMillis), tokenOffset.keyPeriod);
  writeIssuedAt(token, issuedAtMillis);
  options.nonces(token, tokenOffset.nonce);
  token.set(options.certificateFingerprint, tokenOffset.certificateFingerprint);
  token.set(digest, tokenOffset.requestDigest);
  tokenTagger(options)(clientKey, token, token, tokenOffset.tag);
  return token.toString("base64url");
}
