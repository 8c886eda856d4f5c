import { bytesOfBase64 } from "../base/bytes.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { ed25519PublicKey } from "../crypto/index.ts";
import type { PresentedEntry } from "./entry.ts";
import type { EntryRefusal } from "./fold.ts";
import { isSignedBy, type NoteVerifier } from "./signed-note.ts";
import type { AuthorityRow, AuthorRow, TrustState } from "./trust-state.ts";

/** How many unused sequence numbers below the highest stay usable. */
const openSequencesMax = 64;

/** Kinds by which one could get past the thresholds of all others. */
const powerfulKinds: ReadonlySet<string> = new Set(["authority.put", "key.put", "key.remove"]);

/** The sequence numbers that an author has used, as its row keeps them. */
export type UsedSequences = Pick<AuthorRow, "sequence" | "open">;

/**
 * Whether enough authors of the right roles signed, for this log and in time, something they have not said before;
 * with what becomes of the author's sequence numbers once the entry has taken effect.
 */
export function checkAuthority(
  state: TrustState,
  { statement, note }: PresentedEntry,
): Result<UsedSequences, EntryRefusal> {
  const { kind, author: authorName, expiresAtSeconds } = statement;
  if (statement.log !== state.genesis?.genesis) return fail("other-log", statement.log);
  const grant = state.authority.get(kind);
  const author = state.authors.get(authorName);
  if (author === undefined || author.isRemoved) return fail("unknown-author", authorName);
  if (grant === undefined || author.role !== grant.role)
    return fail("unauthorised", `${author.role} ${authorName} may not write ${kind}`);

  const needed = strictestOf(state, kind, grant);
  const counted = { signatures: 0, approvals: 0 };
  for (const { name } of note.signatures) {
    const row = state.authors.get(name);
    const isApprover = needed.approvals > 0 && row?.role === "approver" && grant.role !== "approver";
    const isEntitled = row !== undefined && !row.isRemoved && (row.role === grant.role || isApprover);
    const verifier = isEntitled ? verifierOf(name, row.publicKey) : undefined;
    if (verifier === undefined) return fail("unauthorised", `a signature by ${name}`);
    if (!isSignedBy(note, verifier)) return fail("bad-signature", name);
    counted[isApprover ? "approvals" : "signatures"] += 1;
  }
  if (note.signatures.every(({ name }) => name !== authorName))
    return fail("bad-signature", `${authorName} did not sign`);
  if (counted.signatures < needed.signatures)
    return fail("unauthorised", `${counted.signatures} of ${needed.signatures} signatures`);
  if (counted.approvals < needed.approvals)
    return fail("unauthorised", `${counted.approvals} of ${needed.approvals} approvals`);
  if (expiresAtSeconds !== 0 && expiresAtSeconds < state.genesis.epochTimeSeconds)
    return fail("expired", `at ${expiresAtSeconds}`);
  const used = useSequence(author, statement.sequence);
  return used === undefined
    ? fail("replayed", `sequence ${statement.sequence} of ${authorName}, who is at ${author.sequence}`)
    : ok(used);
}

/** The numbers used together with this one; undefined where it had been used, or is too old. */
function useSequence({ sequence: highest, open }: AuthorRow, sequence: number): UsedSequences | undefined {
  if (sequence <= highest)
    return open.includes(sequence)
      ? { sequence: highest, open: open.filter((one) => one !== sequence) }
      : undefined;
  const skipped: number[] = [];
  for (let one = Math.max(highest + 1, sequence - openSequencesMax); one < sequence; one += 1)
    skipped.push(one);
  return { sequence, open: [...open, ...skipped].slice(-openSequencesMax) };
}

/** For the powerful kinds, as many signatures and approvals as the strictest grant of the same role takes. */
function strictestOf(state: TrustState, kind: string, grant: AuthorityRow): AuthorityRow {
  if (!powerfulKinds.has(kind)) return grant;
  let { signatures, approvals } = grant;
  for (const [, other] of state.authority.entries())
    if (other.role === grant.role) {
      signatures = Math.max(signatures, other.signatures);
      approvals = Math.max(approvals, other.approvals);
    }
  return { role: grant.role, signatures, approvals };
}

/** How many signatures and approvals an entry of a kind takes, and of whom; undefined where nobody may write it. */
export function neededFor(state: TrustState, kind: string): AuthorityRow | undefined {
  const grant = state.authority.get(kind);
  return grant === undefined ? undefined : strictestOf(state, kind, grant);
}

/** One key under two names would count as two signers; and what a removed key signed must not count again. */
export function knownKey(state: TrustState, name: string, publicKey: string): string | undefined {
  if (state.authors.has(name)) return `there is or was a key named ${name}`;
  for (const [other, row] of state.authors.entries())
    if (row.publicKey === publicKey) return `this is or was the key of ${other}`;
  return undefined;
}

/** A grant that asks for more signatures or approvals than there are keys: nobody could ever repair that. */
export function unreachableGrant(state: TrustState): string | undefined {
  const keys = new Map<string, number>();
  for (const [, { role, isRemoved }] of state.authors.entries())
    if (!isRemoved) keys.set(role, (keys.get(role) ?? 0) + 1);
  for (const [kind, { role, signatures, approvals }] of state.authority.entries()) {
    const held = keys.get(role) ?? 0;
    const approvers = keys.get("approver") ?? 0;
    if (held < signatures)
      return `${kind} takes ${signatures} signatures, and there are ${held} ${role} keys`;
    if (approvers < approvals)
      return `${kind} takes ${approvals} approvals, and there are ${approvers} approver keys`;
  }
  return undefined;
}

/** The author of this name and raw key in base64; undefined where that is no Ed25519 key. */
export function verifierOf(name: string, publicKey: string): NoteVerifier | undefined {
  const key = ed25519PublicKey(bytesOfBase64(publicKey) ?? new Uint8Array(0));
  return key === undefined ? undefined : { name, publicKey: key };
}
