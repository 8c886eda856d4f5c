import { bytesOfBase64 } from "../base/bytes.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { ed25519PublicKey } from "../crypto/index.ts";
import type { PresentedEntry } from "./entry.ts";
import type { EntryRefusal } from "./fold.ts";
import { isPeoples, personOf } from "./person.ts";
import { isSignedBy, type NoteVerifier } from "./signed-note.ts";
import type { AuthorityRow, AuthorRow, TrustState } from "./trust-state.ts";

/** How many unused sequence numbers below the highest stay usable. */
const openSequencesMax = 64;

/** Kinds by which one could get past the thresholds of all others, or undo what others decided in need. */
const powerfulKinds: ReadonlySet<string> = new Set([
  "authority.put",
  "key.put",
  "key.remove",
  "log.recover",
  "service.lift",
  "node.lift",
  "instance.release",
]);

/** Whose keys are kept ready to check signatures with; more than write to a log at any one time. */
const verifiersKeptMax = 256;

/** The sequence numbers that an author has used, as its row keeps them. */
export type UsedSequences = Pick<AuthorRow, "sequence" | "open">;

/**
 * Whether enough authors of the right roles signed, for this log and in time, something they have not said before;
 * with what becomes of the author's sequence numbers once the entry has taken effect.
 */
export function checkAuthority(
  state: TrustState,
  entry: PresentedEntry,
): Result<UsedSequences, EntryRefusal> {
  const signed = checkSigners(state, entry);
  if (!signed.ok) return signed;
  const { author, sequence } = entry.statement;
  const used = useSequence(signed.value, sequence);
  return used === undefined
    ? fail("replayed", `sequence ${sequence} of ${author}, who is at ${signed.value.sequence}`)
    : ok(used);
}

/** As {@link checkAuthority}, whatever the sequence number, and at a time that is an epoch's unless given; the author's row. */
export function checkSigners(
  state: TrustState,
  { statement, note }: PresentedEntry,
  nowSeconds = state.genesis?.epochTimeSeconds ?? 0,
): Result<AuthorRow, EntryRefusal> {
  const { kind, author: authorName, expiresAtSeconds } = statement;
  if (statement.log !== state.genesis?.genesis) return fail("other-log", statement.log);
  const grant = state.authority.get(kind);
  const author = state.authors.get(authorName);
  if (author === undefined || author.isRemoved) return fail("unknown-author", authorName);
  if (grant === undefined || author.role !== grant.role)
    return fail("unauthorised", `${author.role} ${authorName} may not write ${kind}`);

  const needed = strictestOf(state, kind, grant);
  const signers = new Set<string>();
  const approvers = new Set<string>();
  for (const { name } of note.signatures) {
    const row = state.authors.get(name);
    const isApprover = needed.approvals > 0 && row?.role === "approver" && grant.role !== "approver";
    const isEntitled = row !== undefined && !row.isRemoved && (row.role === grant.role || isApprover);
    const verifier = isEntitled ? verifierOf(name, row.publicKey) : undefined;
    if (row === undefined || verifier === undefined) return fail("unauthorised", `a signature by ${name}`);
    if (!isSignedBy(note, verifier)) return fail("bad-signature", name);
    (isApprover ? approvers : signers).add(personOf(name));
  }
  if (note.signatures.every(({ name }) => name !== authorName))
    return fail("bad-signature", `${authorName} did not sign`);
  if (signers.size < needed.signatures)
    return fail("unauthorised", `${signers.size} of ${needed.signatures} signatures`);
  // Nobody approves of what they signed themselves, whichever of their keys they take.
  const approvals = approvers.difference(signers).size;
  if (approvals < needed.approvals)
    return fail("unauthorised", `${approvals} of ${needed.approvals} approvals by other people`);
  if (expiresAtSeconds !== 0 && expiresAtSeconds < nowSeconds)
    return fail("expired", `at ${expiresAtSeconds}`);
  return ok(author);
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

/**
 * What is wrong with the grants, or undefined: one that asks for more people than there are keys of, which nobody could
 * ever repair, or one that lets a control plane's key past all the others.
 */
export function grantProblem(state: TrustState): string | undefined {
  const holders = new Map<string, Set<string>>();
  for (const [name, { role, isRemoved }] of state.authors.entries())
    if (!isRemoved) holders.set(role, (holders.get(role) ?? new Set()).add(personOf(name)));
  const nobody = new Set<string>();
  const approvers = holders.get("approver") ?? nobody;
  for (const [kind, { role, signatures, approvals }] of state.authority.entries()) {
    const held = holders.get(role) ?? nobody;
    if (held.size < signatures)
      return `${kind} takes ${signatures} signatures, and there are ${held.size} holders of ${role} keys`;
    if (approvals > 0 && role === "approver")
      return `${kind} takes approvals of what approvers sign, and nobody else can approve`;
    if (approvers.size < approvals)
      return `${kind} takes ${approvals} approvals, and there are ${approvers.size} holders of approver keys`;
    const both = held.union(approvers).size;
    if (approvals > 0 && both < signatures + approvals)
      return `${kind} takes ${signatures + approvals} different people, and there are ${both}`;
    if (powerfulKinds.has(kind) && !isPeoples(role)) return `${kind} is for people, not for an ${role}`;
  }
  return undefined;
}

/** By name and key: every entry asks for its author's. */
const knownVerifiers = new Map<string, NoteVerifier>();

/** The author of this name and raw key in base64; undefined where that is no Ed25519 key. */
export function verifierOf(name: string, publicKey: string): NoteVerifier | undefined {
  const id = `${name} ${publicKey}`;
  const known = knownVerifiers.get(id);
  if (known !== undefined) return known;
  const key = ed25519PublicKey(bytesOfBase64(publicKey) ?? new Uint8Array(0));
  if (key === undefined) return undefined;
  if (knownVerifiers.size >= verifiersKeptMax) knownVerifiers.clear();
  const verifier = { name, publicKey: key };
  knownVerifiers.set(id, verifier);
  return verifier;
}
