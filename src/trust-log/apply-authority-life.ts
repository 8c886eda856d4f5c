import { base64Of, bytesOfBase64, hexOf } from "../base/bytes.ts";
import { fail, ok, type Refusal } from "../base/result.ts";
import { p256PublicKey, parseCertificate, sha256 } from "../crypto/index.ts";
import { type Applied, epochSeconds, isPast } from "./applied.ts";
import { revokeCertificates } from "./apply-instance.ts";
import {
  type AuthorityKind,
  authorityKindOf,
  isRevokedAuthority,
  revokedKeyIds,
} from "./authority-status.ts";
import type { EntryBody, RevocationReason } from "./entry-kinds.ts";
import { leafHash } from "./merkle-tree.ts";
import type { AuthorityStatusRow, TrustState } from "./trust-state.ts";

/** As many as a trust bundle holds (identity/trust-bundle.ts). */
const trustedAuthoritiesMax = 32;
/** Keys that sign tokens, of one use, that have not expired. */
const tokenKeysMax = 16;

/** Makes a certificate of an authority known, as one that is trusted or as one that an issuer has shown. */
export function applyCertificateAuthority(
  state: TrustState,
  certificate: string,
  isTrusted: boolean,
): Applied {
  const der = bytesOfBase64(certificate) ?? new Uint8Array(0);
  const id = base64Of(leafHash(der));
  const known = state.certificateAuthorities.get(id);
  // That an issuer has shown a certificate must not keep an operator from trusting it.
  if (known !== undefined && (known.isTrusted || !isTrusted)) return fail("conflict", "known already");
  if (isRevokedAuthority(state, hexOf(sha256(der)))) return fail("conflict", "this authority was revoked");
  const problem = isTrusted ? trustProblem(state, der) : undefined;
  if (problem !== undefined) return problem;
  state.certificateAuthorities.set(id, { certificate, isTrusted });
  return ok(true);
}

/** Followers read all trusted certificates as one bundle; one that it cannot hold would take the others with it. */
function trustProblem(
  state: TrustState,
  der: Uint8Array,
): Refusal<"malformed-body" | "conflict"> | undefined {
  const parsed = parseCertificate(der);
  if (!parsed.ok) return fail("malformed-body", `certificate: ${parsed.reason} ${parsed.detail}`);
  const { basicConstraints, keyUsage } = parsed.value;
  if (basicConstraints?.isCa !== true || keyUsage?.has("keyCertSign") !== true)
    return fail("malformed-body", "not the certificate of an authority");
  let trusted = 0;
  for (const [, row] of state.certificateAuthorities.entries()) if (row.isTrusted) trusted += 1;
  return trusted < trustedAuthoritiesMax
    ? undefined
    : fail("conflict", `${trusted} authorities are trusted, and no more can be`);
}

/** Puts a key that signs tokens into the trust bundle. */
export function applyTokenKey(state: TrustState, body: EntryBody<"jwk.put">): Applied {
  const spki = bytesOfBase64(body.publicKey) ?? new Uint8Array(0);
  if (p256PublicKey(spki) === undefined) return fail("malformed-body", "not a public key on P-256");
  const id = hexOf(sha256(spki));
  if (state.tokenKeys.has(id)) return fail("conflict", "known already");
  if (isPast(state, body.notAfterSeconds)) return fail("conflict", "expired already");
  const alike = [...state.tokenKeys.entries()].filter(
    ([other, { use, notAfterSeconds }]) =>
      use === body.use && !isPast(state, notAfterSeconds) && !isRevokedAuthority(state, other),
  );
  if (alike.length >= tokenKeysMax)
    return fail("conflict", `there are ${alike.length} keys for ${body.use}, and no more can be`);
  state.tokenKeys.set(id, body);
  return ok(true);
}

/** Lets an authority sign from now on; the one of its kind that did until now becomes an old one. */
export function activate(state: TrustState, authority: string): Applied {
  const kind = authorityKindOf(state, authority);
  if (kind === undefined) return fail("conflict", "no such authority");
  const status = state.authorityStatus.get(authority)?.status;
  if (status !== undefined && status !== "old") return fail("conflict", `it is ${status}`);
  const active = activeOf(state, kind);
  if (active !== undefined) setStatus(state, active, "old");
  setStatus(state, authority, "active");
  return ok(true);
}

/** Has everything replaced that an authority has signed. */
export function taint(state: TrustState, authority: string): Applied {
  const problem = endProblem(state, authority);
  if (problem !== undefined) return problem;
  if (state.authorityStatus.get(authority)?.status === "tainted") return fail("conflict", "tainted already");
  setStatus(state, authority, "tainted");
  return ok(true);
}

/** Ends an authority for ever, with all that it has signed. */
export function revokeAuthority(state: TrustState, authority: string, reason: RevocationReason): Applied {
  const problem = endProblem(state, authority);
  if (problem !== undefined) return problem;
  setStatus(state, authority, "revoked");
  const kind = authorityKindOf(state, authority);
  if (kind !== "root" && kind !== "intermediate") return ok(true);
  for (const [id, row] of state.certificateAuthorities.entries())
    if (row.isTrusted && hexOf(sha256(bytesOfBase64(row.certificate) ?? new Uint8Array(0))) === authority)
      state.certificateAuthorities.set(id, { ...row, isTrusted: false });
  const keys = revokedKeyIds(state);
  // What does not say who signed it may be of this one.
  const isGone = (keyId: string | undefined): boolean => keyId === undefined || keys.has(keyId);
  revokeCertificates(state, (_, { authorityKeyId }) => isGone(authorityKeyId), reason);
  return ok(true);
}

/** An authority ends once another one signs in its place: there must be no moment without any. */
function endProblem(state: TrustState, authority: string): Refusal<"conflict"> | undefined {
  const kind = authorityKindOf(state, authority);
  if (kind === undefined) return fail("conflict", "no such authority");
  const status = state.authorityStatus.get(authority)?.status;
  if (status === "revoked") return fail("conflict", "revoked already");
  if (status === "active") return fail("conflict", "it is active; activate another one first");
  if (status === undefined && activeOf(state, kind) === undefined)
    return fail("conflict", "it may be the one in use; activate another one first");
  return undefined;
}

function activeOf(state: TrustState, kind: AuthorityKind): string | undefined {
  for (const [id, { status }] of state.authorityStatus.entries())
    if (status === "active" && authorityKindOf(state, id) === kind) return id;
  return undefined;
}

function setStatus(state: TrustState, authority: string, status: AuthorityStatusRow["status"]): void {
  state.authorityStatus.set(authority, { status, sinceSeconds: epochSeconds(state) });
}
