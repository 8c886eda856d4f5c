import { bytesOfBase64 } from "../base/bytes.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { checkSigners } from "./authority.ts";
import { type EntryStatement, parseEntry } from "./entry.ts";
import { entryBodies } from "./entry-kinds.ts";
import { entryVersion } from "./entry-revision.ts";
import type { EntryRefusal } from "./fold.ts";
import { isKeyOfGeneration } from "./generation.ts";
import { type NoteVerifier, parseVerifierKey } from "./signed-note.ts";
import type { TrustState } from "./trust-state.ts";

/** What people have said about where the log goes on, and under which key. */
export interface Recovery {
  readonly generation: number;
  /** How many entries of what was there before still count, and their root. */
  readonly size: number;
  readonly root: Uint8Array;
  readonly logKey: NoteVerifier;
}

/** An entry that a relay shows as a recovery. */
export interface ShownRecovery {
  readonly index: number;
  readonly entry: Uint8Array;
  /** The follower's own wall clock. */
  readonly nowSeconds: number;
}

/** Why a follower does not go back: nobody entitled says so, or it has gone already, or it need not. */
export type RecoveryRefusal = EntryRefusal | "other-generation" | "not-ahead";

/**
 * Judges an entry that tells a follower to give up entries it has, by the follower's own state: the people that it
 * knows must have signed it, and it must be the generation after its own. Sequence numbers do not count, since the
 * entries to be given up may have used them; the generation keeps an old one from being shown again. It has expired when
 * both the newest epoch and the follower's own clock say so: the epochs to be given up may be a thief's, of any time.
 */
export function judgeRecovery(
  { state, size }: { readonly state: TrustState; readonly size: number },
  { index, entry, nowSeconds }: ShownRecovery,
): Result<Recovery, RecoveryRefusal> {
  const presented = parseEntry(entry);
  if (!presented.ok) return presented;
  const { statement } = presented.value;
  const recovery = recoveryOf(statement, state.genesis?.trustDomain ?? "");
  if (!recovery.ok) return recovery;
  const own = (state.genesis?.recoveredSizes.length ?? 0) + 1;
  if (recovery.value.generation !== own + 1)
    return fail("other-generation", `${recovery.value.generation} after ${own}`);
  if (recovery.value.size !== index || index >= size)
    return fail("not-ahead", `a recovery at ${recovery.value.size}, shown at ${index}, of ${size} entries`);
  const epochSeconds = state.genesis?.epochTimeSeconds ?? 0;
  const signed = checkSigners(state, presented.value, Math.min(epochSeconds, nowSeconds));
  return signed.ok ? recovery : signed;
}

function recoveryOf(
  { kind, version, body }: EntryStatement,
  trustDomain: string,
): Result<Recovery, "malformed-body"> {
  const parsed = entryBodies["log.recover"].safeParse(body);
  if (kind !== "log.recover" || version !== entryVersion || !parsed.success)
    return fail("malformed-body", "no recovery of the log");
  const { generation, size, logKey } = parsed.data;
  const root = bytesOfBase64(parsed.data.root);
  const verifier = parseVerifierKey(logKey);
  if (root === undefined || !verifier.ok || !isKeyOfGeneration(logKey, trustDomain, generation))
    return fail("malformed-body", "not a key of the log in this generation");
  return ok({ generation, size, root, logKey: verifier.value });
}

const recoveryKind = Buffer.from('"kind":"log.recover"');

/** Whether an entry may be a recovery; no entry that is one is missed, since statements have one spelling. */
export function mayBeRecovery(entry: Uint8Array): boolean {
  return Buffer.from(entry.buffer, entry.byteOffset, entry.byteLength).includes(recoveryKind);
}
