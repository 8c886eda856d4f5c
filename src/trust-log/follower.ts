import { base64Of, sameBytes } from "../base/bytes.ts";
import { fail, ok, type Result } from "../base/result.ts";
import {
  type CheckedCheckpoint,
  type CheckpointRefusal,
  checkCheckpoint,
  type TreeHead,
} from "./checkpoint.ts";
import { type EntryRefusal, type FoldStop, foldEntry } from "./fold.ts";
import { generationOf } from "./generation.ts";
import { isConsistent } from "./merkle-proof.ts";
import { Frontier, leafHash } from "./merkle-tree.ts";
import {
  judgeRecovery,
  mayBeRecovery,
  type Recovery,
  type RecoveryRefusal,
  type ShownRecovery,
} from "./recovery.ts";
import { type NoteVerifier, parseVerifierKey } from "./signed-note.ts";
import type { ReadSnapshot } from "./snapshot.ts";
import { TrustState } from "./trust-state.ts";

/** What a follower must know beforehand: which log it is, by the hash of its first entry and by its key. */
export interface LogAnchor {
  /** The leaf hash of entry 0, in base64. */
  readonly genesis: string;
  /** Of the newest generation that the follower knows; of no earlier one is anything taken. */
  readonly logKey: NoteVerifier;
}

/** A step of the log: entries from `firstIndex` on, and a checkpoint over the tree with all of them. */
export interface LogStep {
  readonly firstIndex: number;
  readonly entries: readonly Uint8Array[];
  readonly checkpoint: Uint8Array;
}

/** Why a follower did not take a step; it stays where it was, or, for a {@link FoldStop}, before the entry named. */
export type StepRefusal =
  | CheckpointRefusal
  | FoldStop
  | "not-the-next-entries"
  | "wrong-root"
  | "other-genesis"
  | "rolled-back"
  | "forked";

/** An entry that is in the log and had no effect: somebody ordered what nobody was entitled to say. */
export interface IneffectiveEntry {
  readonly index: number;
  readonly reason: EntryRefusal;
  readonly detail: string;
}

/**
 * Follows a trust log: takes steps from a relay that it does not trust, and holds the state that they fold to. A step
 * counts only if the log's key signed the tree that it leads to: the key of the generation that the tree is of.
 */
export class LogFollower {
  readonly #anchor: LogAnchor;
  /** The largest tree seen in an earlier life; what does not contain it is refused. */
  readonly #remembered: TreeHead | undefined;
  #state = new TrustState();
  #frontier = new Frontier();
  #checkpoint: CheckedCheckpoint | undefined;
  /** The entry that must come next, after a snapshot. */
  #awaited: Uint8Array | undefined;
  /** Whether the tree of the snapshot leaves out the remembered one. */
  #isForked = false;
  /** The key that checkpoints must be signed by from here on. */
  #logKey: NoteVerifier;
  #stopped: StepRefusal | undefined;

  constructor(anchor: LogAnchor, remembered?: TreeHead) {
    this.#anchor = anchor;
    this.#logKey = anchor.logKey;
    this.#remembered = remembered;
  }

  /**
   * Takes up from a snapshot. It is not to be used before its first step has been taken: that one must begin with the
   * epoch entry that committed to the snapshot, and its root covers the edge of the tree. Where the snapshot is past the
   * remembered tree, `proof` must show that it contains it (RFC 9162 section 2.1.4.1); no step is taken otherwise. The
   * snapshot's state is the follower's from now on.
   */
  static resume(
    anchor: LogAnchor,
    snapshot: ReadSnapshot,
    remembered?: TreeHead,
    proof: readonly Uint8Array[] = [],
  ): LogFollower {
    const follower = new LogFollower(anchor, remembered);
    follower.#state = snapshot.state;
    follower.#frontier = snapshot.frontier.clone();
    follower.#awaited = snapshot.epochEntry;
    const { size } = snapshot.frontier;
    follower.#isForked =
      remembered !== undefined &&
      remembered.size <= size &&
      !isConsistent(
        {
          olderSize: remembered.size,
          olderRoot: remembered.root,
          newerSize: size,
          newerRoot: snapshot.frontier.root(),
        },
        proof,
      );
    return follower;
  }

  /** The state at {@link size}. Read-only by convention: only folding changes it. */
  get state(): TrustState {
    return this.#state;
  }

  /** How many entries are folded: the version of everything. */
  get size(): number {
    return this.#frontier.size;
  }

  /** The key that signs this log in the newest generation that is known. */
  get logKey(): NoteVerifier {
    return this.#logKey;
  }

  /** The last checkpoint taken. */
  get checkpoint(): CheckedCheckpoint | undefined {
    return this.#checkpoint;
  }

  /** The right edge of the tree at {@link size}. */
  get frontier(): Frontier {
    return this.#frontier;
  }

  /** Why the follower cannot go on after {@link size}; undefined while it can. */
  get stoppedReason(): StepRefusal | undefined {
    return this.#stopped;
  }

  /** Whether the follower has caught up with the largest tree that it knew in an earlier life. */
  get hasCaughtUp(): boolean {
    return this.#checkpoint !== undefined && this.size >= (this.#remembered?.size ?? 0);
  }

  /** Judges, by the state here, an entry that says the log goes on from before {@link size}. Changes nothing. */
  judgeRecovery(shown: ShownRecovery): Result<Recovery, RecoveryRefusal> {
    return judgeRecovery(this, shown);
  }

  /** Takes a step, or refuses it and stays where it is. Entries that it has already are skipped. */
  take(step: LogStep): Result<readonly IneffectiveEntry[], StepRefusal> {
    if (this.#stopped !== undefined) return fail(this.#stopped, "stopped before");
    const fresh = step.entries.slice(Math.max(0, this.size - step.firstIndex));
    const logKey = this.#keyAfter(fresh);
    const checkpoint = checkCheckpoint(step.checkpoint, logKey);
    if (!checkpoint.ok) return checkpoint;
    const leaves = fresh.map(leafHash);
    const fits = this.#fits(step, checkpoint.value, { fresh, leaves });
    if (!fits.ok) return fits;

    const ineffective: IneffectiveEntry[] = [];
    for (const [offset, entry] of fresh.entries()) {
      const index = this.#frontier.size;
      const folded = foldEntry(this.#state, this.#frontier, entry);
      // The state is half-way through a step now, so there is no going on from here.
      if (!folded.ok)
        return this.#stop(folded.reason, `entry ${index} (${offset} of the step): ${folded.detail}`);
      const outcome = folded.value;
      // An epoch that those entitled by now did not write vouches for no snapshot.
      if (!outcome.hasEffect && this.#awaited !== undefined && offset === 0)
        return this.#stop("state-digest-mismatch", `the snapshot's epoch is refused: ${outcome.reason}`);
      this.#frontier.append(leaves[offset] ?? leafHash(entry));
      if (!outcome.hasEffect) ineffective.push({ index, reason: outcome.reason, detail: outcome.detail });
    }
    this.#checkpoint = checkpoint.value;
    this.#awaited = undefined;
    this.#logKey = logKey;
    return ok(ineffective);
  }

  /**
   * The key that must have signed a tree with these entries. A recovery among them gives the log another one, and
   * whether it does is a question of authority: answered on a copy, before anything here changes.
   */
  #keyAfter(fresh: readonly Uint8Array[]): NoteVerifier {
    if (!fresh.some(mayBeRecovery)) return this.#logKey;
    const state = this.#state.clone();
    const frontier = this.#frontier.clone();
    for (const entry of fresh) {
      if (!foldEntry(state, frontier, entry).ok) break;
      frontier.append(leafHash(entry));
    }
    const logKey = parseVerifierKey(state.genesis?.logKey ?? "");
    return logKey.ok && generationOf(logKey.value) > generationOf(this.#logKey) ? logKey.value : this.#logKey;
  }

  #fits(
    step: LogStep,
    checkpoint: CheckedCheckpoint,
    { fresh, leaves }: { readonly fresh: readonly Uint8Array[]; readonly leaves: readonly Uint8Array[] },
  ): Result<true, StepRefusal> {
    const { size, root } = checkpoint;
    const known = Math.max(this.size, this.#remembered?.size ?? 0);
    if (size < known) return fail("rolled-back", `to ${size} from ${known}`);
    if (this.#isForked) return fail("forked", "nothing shows that the snapshot contains the remembered tree");
    if (step.firstIndex > this.size || this.size + fresh.length !== size)
      return fail("not-the-next-entries", `${fresh.length} after ${this.size} for ${size}`);
    const ahead = this.#frontier.clone();
    const [first] = fresh;
    const [firstLeaf] = leaves;
    if (this.size === 0 && firstLeaf !== undefined && base64Of(firstLeaf) !== this.#anchor.genesis)
      return fail("other-genesis", base64Of(firstLeaf));
    if (this.#awaited !== undefined && (first === undefined || !sameBytes(first, this.#awaited)))
      return fail("wrong-root", "the log does not hold the epoch that committed to the snapshot");
    for (const leaf of leaves) {
      ahead.append(leaf);
      if (ahead.size === this.#remembered?.size && !sameBytes(ahead.root(), this.#remembered.root))
        return fail("forked", `another tree of ${ahead.size} entries was signed before`);
    }
    if (sameBytes(ahead.root(), root)) return ok(true);
    return fresh.length === 0
      ? fail("forked", `two trees of ${size} entries`)
      : fail("wrong-root", `at ${size}`);
  }

  #stop(reason: FoldStop, detail: string): Result<never, StepRefusal> {
    this.#stopped = reason;
    return fail(reason, detail);
  }
}
