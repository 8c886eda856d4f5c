import type { ReadAuthority } from "./authority-table.ts";
import type { AuthorityStatusRow, TrustState } from "./trust-state.ts";

/** What an authority signs: authorities, X.509-SVIDs, or tokens of one use. */
export type AuthorityKind = "root" | "intermediate" | "jwt-svid" | "wit-svid";

/** Where an authority is in its life; what has no row in the log has been prepared. */
export type AuthorityStatus = AuthorityStatusRow["status"] | "prepared";

/** A certificate authority that the log knows. */
export interface KnownAuthority extends ReadAuthority {
  readonly status: AuthorityStatus;
}

/** All certificate authorities that the log knows, in the order in which they came. */
export function certificateAuthoritiesOf(state: TrustState): readonly KnownAuthority[] {
  return [...state.certificateAuthorities.readable()].map((read) => knownOf(state, read));
}

/** What kind of authority an identifier names (see `ca.activate`); undefined where the log knows none. */
export function authorityKindOf(state: TrustState, authority: string): AuthorityKind | undefined {
  const tokenKey = state.tokenKeys.get(authority);
  if (tokenKey !== undefined) return tokenKey.use;
  return state.certificateAuthorities.withId(authority)?.kind;
}

/** Whether an authority was revoked. */
export function isRevokedAuthority(state: TrustState, authority: string): boolean {
  return statusOf(state, authority) === "revoked";
}

/** The key identifiers (hex) of all revoked certificate authorities, and of those that they had signed. */
export function revokedKeyIds(state: TrustState): ReadonlySet<string> {
  return keyIdsOf(authoritiesUnder(state, "revoked"));
}

/** The key identifiers (hex) of all tainted certificate authorities, and of those that they had signed. */
export function taintedKeyIds(state: TrustState): ReadonlySet<string> {
  return keyIdsOf(authoritiesUnder(state, "tainted"));
}

/** The certificate authorities that have a status themselves, or were signed by one that has it. */
export function authoritiesUnder(
  state: TrustState,
  status: "tainted" | "revoked",
): readonly KnownAuthority[] {
  const all = new Map<string, ReadAuthority>();
  for (const [id, row] of state.authorityStatus.entries()) {
    const read = row.status === status ? state.certificateAuthorities.withId(id) : undefined;
    if (read !== undefined) all.set(id, read);
  }
  for (const keyId of keyIdsOf([...all.values()]))
    for (const read of state.certificateAuthorities.signedBy(keyId)) all.set(read.id, read);
  return [...all.values()].map((read) => knownOf(state, read));
}

function keyIdsOf(authorities: readonly ReadAuthority[]): ReadonlySet<string> {
  return new Set(authorities.flatMap(({ certificate: { subjectKeyId } }) => subjectKeyId ?? []));
}

function knownOf(state: TrustState, read: ReadAuthority): KnownAuthority {
  return { ...read, status: statusOf(state, read.id) };
}

function statusOf(state: TrustState, authority: string): AuthorityStatus {
  return state.authorityStatus.get(authority)?.status ?? "prepared";
}
