import { bytesOfBase64 } from "../base/bytes.ts";
import { isPast } from "./applied.ts";
import { isRevokedAuthority } from "./authority-status.ts";
import { isQuarantined } from "./instance-state.ts";
import type { AuthorityStatusRow, TrustState } from "./trust-state.ts";

/** What tokens are for: each use has keys of its own. */
export type TokenUse = "jwt-svid" | "wit-svid";

/** A key for tokens that the log knows and that counts. */
export interface KnownTokenKey {
  /** The SHA-256 of its public half, hexadecimal: its `kid`. */
  readonly id: string;
  /** SubjectPublicKeyInfo (DER). */
  readonly publicKey: Uint8Array;
  readonly notAfterSeconds: number;
  readonly status: Exclude<AuthorityStatusRow["status"], "revoked"> | "prepared";
}

/** What a token says by which the log can tell whether it still counts. */
export interface NamedToken {
  readonly spiffeId: string;
  readonly id: string | undefined;
  readonly instance: string | undefined;
  readonly issuedAtSeconds: number | undefined;
}

/**
 * The keys under which tokens of one use verify: prepared ones, so that they are known everywhere before they sign, and
 * those that do not sign any more, until they are revoked or have expired.
 */
export function publishedTokenKeys(state: TrustState, use: TokenUse): readonly KnownTokenKey[] {
  const keys: KnownTokenKey[] = [];
  for (const [id, row] of state.tokenKeys.entries()) {
    const publicKey = bytesOfBase64(row.publicKey);
    const status = state.authorityStatus.get(id)?.status ?? "prepared";
    const counts = row.use === use && !isRevokedAuthority(state, id) && !isPast(state, row.notAfterSeconds);
    if (publicKey !== undefined && counts && status !== "revoked")
      keys.push({ id, publicKey, notAfterSeconds: row.notAfterSeconds, status });
  }
  return keys;
}

/**
 * Whether a genuine token of this trust domain still counts: it was not revoked, and the log names the instance that it
 * was issued for, as one of the service that it speaks of, registered since before. So it ends with its instance, and with
 * whatever takes the instance's identity.
 */
export function isTokenInForce(state: TrustState, token: NamedToken): boolean {
  const { id, instance, spiffeId, issuedAtSeconds } = token;
  // All that are issued here have these.
  if (id === undefined || instance === undefined || issuedAtSeconds === undefined) return false;
  if (state.revocations.has(`token:${id}`)) return false;
  const row = state.instances.get(instance);
  if (row === undefined || issuedAtSeconds < row.registeredAtSeconds) return false;
  if (isQuarantined(state, instance)) return false;
  return spiffeId === `spiffe://${state.genesis?.trustDomain}${row.service}`;
}
