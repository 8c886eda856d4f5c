import { base64Of } from "../base/bytes.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { applyEntry, problemOf } from "./apply-entry.ts";
import { checkAuthority, grantProblem, knownKey, verifierOf } from "./authority.ts";
import { type EntryStatement, parseEntry } from "./entry.ts";
import { entryBodies, isEntryKind } from "./entry-kinds.ts";
import { entryVersion } from "./entry-revision.ts";
import { leafHash } from "./merkle-tree.ts";
import { keyNameProblem } from "./person.ts";
import { isSignedBy, parseVerifierKey } from "./signed-note.ts";
import { foldVersion, type TrustState } from "./trust-state.ts";

/** Why an entry has no effect. It stays in the log and is reported. */
export type EntryRefusal =
  | "malformed-entry"
  | "other-log"
  | "unknown-author"
  | "unauthorised"
  | "bad-signature"
  | "expired"
  | "replayed"
  | "malformed-body"
  | "conflict";

/** Why a fold cannot go on at this entry: everything after it would be guesswork. */
export type FoldStop = "unknown-kind" | "state-digest-mismatch" | "bad-genesis";

/** What an entry did: it took effect, or had none and why. */
export type FoldOutcome =
  | { readonly hasEffect: true; readonly statement: EntryStatement }
  | { readonly hasEffect: false; readonly reason: EntryRefusal; readonly detail: string };

/** The tree before an entry: its size is the entry's index. */
export interface EntryPlace {
  readonly size: number;
  readonly root: () => Uint8Array;
}

/**
 * Folds the next entry of the tree `before` it into the state. The authority of an entry is checked here and nowhere else: what the
 * log's key ordered has no effect unless the authors that genesis (and later entries of those authors) name signed it.
 */
export function foldEntry(
  state: TrustState,
  before: EntryPlace,
  bytes: Uint8Array,
): Result<FoldOutcome, FoldStop> {
  const index = before.size;
  if (index === 0) return foldGenesis(state, bytes);
  const entry = parseEntry(bytes);
  if (!entry.ok) return ok({ hasEffect: false, reason: "malformed-entry", detail: entry.detail });
  const { statement } = entry.value;

  const admitted = checkAuthority(state, entry.value);
  if (!admitted.ok) return ok({ hasEffect: false, reason: admitted.reason, detail: admitted.detail });
  if (!isEntryKind(statement.kind) || statement.version !== entryVersion)
    return fail("unknown-kind", `${statement.kind} version ${statement.version} in entry ${index}`);

  const applied = applyEntry(state, statement.kind, { before, statement });
  if (!applied.ok) {
    const { reason, detail } = applied;
    return reason === "state-digest-mismatch"
      ? fail(reason, detail)
      : ok({ hasEffect: false, reason, detail });
  }
  const author = state.authors.get(statement.author);
  if (author !== undefined) state.authors.set(statement.author, { ...author, ...admitted.value });
  return ok({ hasEffect: true, statement });
}

/** Genesis vouches for itself: every operator key that it names must have signed it. Followers know it by its hash. */
function foldGenesis(state: TrustState, bytes: Uint8Array): Result<FoldOutcome, FoldStop> {
  const entry = parseEntry(bytes);
  if (!entry.ok) return fail("bad-genesis", entry.detail);
  const { statement, note } = entry.value;
  if (statement.kind !== "genesis" || statement.version !== entryVersion || statement.log !== "")
    return fail("bad-genesis", "not a genesis entry");
  const parsed = entryBodies.genesis.safeParse(statement.body);
  if (!parsed.success) return fail("bad-genesis", problemOf(parsed.error));
  const body = parsed.data;
  if (body.foldVersion !== foldVersion) return fail("unknown-kind", `fold version ${body.foldVersion}`);

  if (!parseVerifierKey(body.logKey).ok) return fail("bad-genesis", "the log's key");

  for (const { name, role, publicKey } of body.keys) {
    const problem = keyNameProblem(body.trustDomain, name, role) ?? knownKey(state, name, publicKey);
    if (problem !== undefined) return fail("bad-genesis", problem);
    const verifier = verifierOf(name, publicKey);
    if (verifier === undefined) return fail("bad-genesis", `the key of ${name}`);
    if (role === "operator" && !isSignedBy(note, verifier))
      return fail("bad-genesis", `${name} did not sign`);
    state.authors.set(name, { role, publicKey, sequence: 0, open: [], isRemoved: false });
  }
  for (const [kind, grant] of Object.entries(body.authority)) state.authority.set(kind, grant);
  const wrongGrant = grantProblem(state);
  if (wrongGrant !== undefined) return fail("bad-genesis", wrongGrant);
  const { trustDomain, isTestDomain, logKey, staleness } = body;
  state.domain.set("", {
    genesis: base64Of(leafHash(bytes)),
    trustDomain,
    isTestDomain,
    logKey,
    recoveredSizes: [],
    staleness,
    epochNumber: 0,
    epochTimeSeconds: body.createdAtSeconds,
  });
  return ok({ hasEffect: true, statement });
}
