import { bytesOfBase64, hexOf } from "../base/bytes.ts";
import { type ParsedCertificate, parseCertificate, sha256 } from "../crypto/index.ts";
import type { TrustState } from "./trust-state.ts";

/** What an authority signs: authorities, X.509-SVIDs, or tokens of one use. */
export type AuthorityKind = "root" | "intermediate" | "jwt-svid" | "wit-svid";

/** What kind of authority an identifier names (see `ca.activate`); undefined where the log knows none. */
export function authorityKindOf(state: TrustState, authority: string): AuthorityKind | undefined {
  const tokenKey = state.tokenKeys.get(authority);
  if (tokenKey !== undefined) return tokenKey.use;
  for (const { id, certificate } of certificatesOf(state))
    if (id === authority)
      return certificate.subject.text === certificate.issuer.text ? "root" : "intermediate";
  return undefined;
}

/** All authorities that the log knows, by identifier. */
export function authorityIdsOf(state: TrustState): readonly (readonly [id: string, kind: AuthorityKind])[] {
  const keys = [...state.tokenKeys.entries()].map(([id, { use }]) => [id, use] as const);
  const certificates = [...certificatesOf(state)].map(
    ({ id, certificate: { subject, issuer } }) =>
      [id, subject.text === issuer.text ? "root" : "intermediate"] as const,
  );
  return [...certificates, ...keys];
}

/** Whether an authority was revoked. */
export function isRevokedAuthority(state: TrustState, authority: string): boolean {
  return state.authorityStatus.get(authority)?.status === "revoked";
}

/** The key identifiers (hex) of all revoked certificate authorities, and of those that they had signed. */
export function revokedKeyIds(state: TrustState): ReadonlySet<string> {
  const revoked = new Set<string>();
  const hasAny = [...state.authorityStatus.entries()].some(([, { status }]) => status === "revoked");
  if (!hasAny) return revoked;
  const all = [...certificatesOf(state)];
  for (const { id, certificate } of all)
    if (isRevokedAuthority(state, id) && certificate.subjectKeyId !== undefined)
      revoked.add(certificate.subjectKeyId);
  for (const { certificate } of all) {
    const { subjectKeyId, authorityKeyId } = certificate;
    if (subjectKeyId !== undefined && authorityKeyId !== undefined && revoked.has(authorityKeyId))
      revoked.add(subjectKeyId);
  }
  return revoked;
}

function* certificatesOf(
  state: TrustState,
): Generator<{ readonly id: string; readonly certificate: ParsedCertificate }> {
  for (const [, row] of state.certificateAuthorities.entries()) {
    const der = bytesOfBase64(row.certificate) ?? new Uint8Array(0);
    const parsed = parseCertificate(der);
    if (parsed.ok) yield { id: hexOf(sha256(der)), certificate: parsed.value };
  }
}
