import { bytesOfBase64, hexOf } from "../base/bytes.ts";
import { type ParsedCertificate, parseCertificate, sha256 } from "../crypto/index.ts";
import type { AuthorityStatusRow, CertificateAuthorityRow, TrustState } from "./trust-state.ts";

/** What an authority signs: authorities, X.509-SVIDs, or tokens of one use. */
export type AuthorityKind = "root" | "intermediate" | "jwt-svid" | "wit-svid";

/** Where an authority is in its life; what has no row in the log has been prepared. */
export type AuthorityStatus = AuthorityStatusRow["status"] | "prepared";

/** A certificate authority that the log knows. */
export interface KnownAuthority {
  /** The SHA-256 of its certificate, hex. */
  readonly id: string;
  readonly kind: "root" | "intermediate";
  readonly certificate: ParsedCertificate;
  /** Whether it is in the trust bundle. */
  readonly isTrusted: boolean;
  readonly status: AuthorityStatus;
}

/** All certificate authorities that the log knows, in the order in which they came. */
export function certificateAuthoritiesOf(state: TrustState): readonly KnownAuthority[] {
  return [...state.certificateAuthorities.entries()].flatMap(([, row]) => {
    const parsed = parsedOf(row);
    if (parsed === undefined) return [];
    const { id, kind, certificate } = parsed;
    return [{ id, kind, certificate, isTrusted: row.isTrusted, status: statusOf(state, id) }];
  });
}

/** What kind of authority an identifier names (see `ca.activate`); undefined where the log knows none. */
export function authorityKindOf(state: TrustState, authority: string): AuthorityKind | undefined {
  const tokenKey = state.tokenKeys.get(authority);
  if (tokenKey !== undefined) return tokenKey.use;
  return certificateAuthoritiesOf(state).find(({ id }) => id === authority)?.kind;
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
  const hasAny = [...state.authorityStatus.entries()].some(([, row]) => row.status === status);
  if (!hasAny) return [];
  const all = certificateAuthoritiesOf(state);
  const keys = keyIdsOf(all.filter((one) => one.status === status));
  return all.filter((one) => one.status === status || keys.has(one.certificate.authorityKeyId ?? "of none"));
}

function keyIdsOf(authorities: readonly KnownAuthority[]): ReadonlySet<string> {
  return new Set(authorities.flatMap(({ certificate: { subjectKeyId } }) => subjectKeyId ?? []));
}

function statusOf(state: TrustState, authority: string): AuthorityStatus {
  return state.authorityStatus.get(authority)?.status ?? "prepared";
}

type ParsedAuthority = Pick<KnownAuthority, "id" | "kind" | "certificate">;

/** Rows never change, and they are asked about with every certificate. */
const parsedRows = new WeakMap<CertificateAuthorityRow, ParsedAuthority | "unreadable">();

function parsedOf(row: CertificateAuthorityRow): ParsedAuthority | undefined {
  const known = parsedRows.get(row) ?? parseRow(row);
  parsedRows.set(row, known);
  return known === "unreadable" ? undefined : known;
}

function parseRow(row: CertificateAuthorityRow): ParsedAuthority | "unreadable" {
  const der = bytesOfBase64(row.certificate) ?? new Uint8Array(0);
  const parsed = parseCertificate(der);
  if (!parsed.ok) return "unreadable";
  const certificate = parsed.value;
  const kind = certificate.subject.text === certificate.issuer.text ? "root" : "intermediate";
  return { id: hexOf(sha256(der)), kind, certificate };
}
