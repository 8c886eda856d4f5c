import { fail, ok, type Result } from "../base/result.ts";
import { problemOf } from "./apply-entry.ts";
import { neededFor, verifierOf } from "./authority.ts";
import { type EntryStatement, type PresentedEntry, parseEntry } from "./entry.ts";
import { entryBodies, isEntryKind } from "./entry-kinds.ts";
import { entryVersion } from "./entry-revision.ts";
import type { EntryRefusal } from "./fold.ts";
import { personOf } from "./person.ts";
import { formatNote, isSignedBy, type NoteSignature, type SignedNote } from "./signed-note.ts";
import type { AuthorityRow, AuthorRow, TrustState } from "./trust-state.ts";

/** An entry that waits for signatures: what it says, whose signatures count so far, how many more it takes. */
export interface UnfinishedEntry {
  readonly statement: EntryStatement;
  /** What everybody signs. */
  readonly text: string;
  /** The entry with the signatures that count and no others. */
  readonly entry: Uint8Array;
  /** Names of the keys whose signatures count, the author's among them. */
  readonly signers: readonly string[];
  /** Names of the approvers whose approvals count. */
  readonly approvers: readonly string[];
  /** What it takes in all; signatures are of this role. */
  readonly needed: AuthorityRow;
  readonly missing: { readonly signatures: number; readonly approvals: number };
  /** Why the other signatures do not count. */
  readonly uncounted: readonly { readonly name: string; readonly why: string }[];
}

/**
 * Judges an entry before it has all of its signatures, as far as that can be told without ordering it: everything that
 * the fold would demand of it today but their number. The fold has the last word.
 */
export function judgeUnfinished(state: TrustState, bytes: Uint8Array): Result<UnfinishedEntry, EntryRefusal> {
  const parsed = parseEntry(bytes);
  if (!parsed.ok) return parsed;
  const { statement, note } = parsed.value;
  const needed = judgeStatement(state, parsed.value);
  if (!needed.ok) return needed;

  const counted = countSignatures(state, note, needed.value);
  const { signers, approvers, uncounted } = counted;
  if (!signers.has(statement.author)) return fail("bad-signature", `${statement.author} did not sign`);
  const signatures = note.signatures.filter(({ name }) => signers.has(name) || approvers.has(name));
  return ok({
    statement,
    text: note.text,
    entry: formatNote({ text: note.text, signatures }),
    signers: [...signers],
    approvers: [...approvers],
    needed: needed.value,
    missing: {
      signatures: Math.max(0, needed.value.signatures - signers.size),
      approvals: Math.max(0, needed.value.approvals - approvers.size),
    },
    uncounted,
  });
}

function judgeStatement(
  state: TrustState,
  { statement }: PresentedEntry,
): Result<AuthorityRow, EntryRefusal> {
  const { kind, version, log, author: name, body, sequence, expiresAtSeconds } = statement;
  if (log !== state.genesis?.genesis) return fail("other-log", log);
  const author = state.authors.get(name);
  if (author === undefined || author.isRemoved) return fail("unknown-author", name);
  const needed = neededFor(state, kind);
  if (needed === undefined || needed.role !== author.role)
    return fail("unauthorised", `${author.role} ${name} may not write ${kind}`);
  if (!isEntryKind(kind) || version !== entryVersion)
    return fail("malformed-body", `unknown kind ${kind} version ${version}`);
  const checked = entryBodies[kind].safeParse(body);
  if (!checked.success) return fail("malformed-body", problemOf(checked.error));
  if (expiresAtSeconds !== 0 && expiresAtSeconds < state.genesis.epochTimeSeconds)
    return fail("expired", `at ${expiresAtSeconds}`);
  if (sequence <= author.sequence && !author.open.includes(sequence))
    return fail("replayed", `sequence ${sequence} of ${name}, who is at ${author.sequence}`);
  return ok(needed);
}

interface Counted {
  readonly signers: ReadonlySet<string>;
  readonly approvers: ReadonlySet<string>;
  readonly uncounted: readonly { readonly name: string; readonly why: string }[];
}

/** Each person counts once, and never as the approver of what they signed. */
function countSignatures(state: TrustState, note: SignedNote, needed: AuthorityRow): Counted {
  const uncounted: { name: string; why: string }[] = [];
  const persons = new Set<string>();
  const take = (role: AuthorRow["role"], isWanted: boolean): ReadonlySet<string> => {
    const taken = new Set<string>();
    for (const { name } of note.signatures.filter((one) => roleOf(state, one) === role)) {
      const why = isWanted ? whyNot(state, note, { name, persons }) : `${role}s do not sign this`;
      if (why !== undefined) uncounted.push({ name, why });
      else {
        persons.add(personOf(name));
        taken.add(name);
      }
    }
    return taken;
  };
  const signers = take(needed.role, true);
  const approvers = needed.role === "approver" ? new Set<string>() : take("approver", needed.approvals > 0);
  for (const signature of note.signatures) {
    const role = roleOf(state, signature);
    if (role === needed.role || role === "approver") continue;
    uncounted.push({
      name: signature.name,
      why: role === undefined ? "unknown key" : `${role}s do not sign this`,
    });
  }
  return { signers, approvers, uncounted };
}

function roleOf(state: TrustState, { name }: NoteSignature): AuthorRow["role"] | undefined {
  const row = state.authors.get(name);
  return row === undefined || row.isRemoved ? undefined : row.role;
}

function whyNot(
  state: TrustState,
  note: SignedNote,
  { name, persons }: { readonly name: string; readonly persons: ReadonlySet<string> },
): string | undefined {
  const verifier = verifierOf(name, state.authors.get(name)?.publicKey ?? "");
  if (verifier === undefined || !isSignedBy(note, verifier)) return "bad signature";
  return persons.has(personOf(name)) ? `${personOf(name)} has signed already` : undefined;
}
