import { bytesOf, hexOf } from "../base/bytes.ts";
import type { Log } from "../base/log.ts";
import { messageOf } from "../base/mesh-error.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { sha256 } from "../crypto/index.ts";
import {
  formatNote,
  judgeUnfinished,
  parseEntry,
  personOf,
  type TrustState,
  type UnfinishedEntry,
} from "../trust-log/index.ts";
import type { AppendRefusal, LogWriter } from "./log-writer.ts";
import type { ProposalFiles } from "./proposal-files.ts";

/** All that wait at once; one author has far fewer, so nobody can take the places of the others alone. */
const proposalsMax = 256;
const perAuthorMax = 16;
const proposalBytesMax = 32 * 1024;
/** How far ahead of the last epoch a proposal may end. */
const lifetimeSecondsMax = 7 * 86_400 + 600;

/** Why a proposal, an approval or a withdrawal was not taken. */
export type ProposalRefusal =
  | AppendRefusal
  | "too-large"
  | "not-the-author"
  | "without-end"
  | "nothing-missing"
  | "sequence-taken"
  | "too-many-proposals"
  | "unknown-proposal"
  | "nothing-new"
  | "not-yours";

/** An entry that waits, with the signatures so far. */
export interface WaitingProposal {
  /** The SHA-256 of the entry's text, hex. */
  readonly id: string;
  readonly entry: Uint8Array;
}

/**
 * Entries that wait for the signatures of more people, on disk before they are acknowledged. Nothing here gives power:
 * what is ordered is judged by the fold as it is then. What has expired, or whose sequence number was used by another
 * entry, is forgotten.
 */
export class Proposals {
  readonly #files: ProposalFiles;
  readonly #writer: LogWriter;
  readonly #log: Log;
  readonly #entries: Map<string, Uint8Array>;
  /** Only a longer log can have made anything obsolete. */
  #prunedAtSize = -1;
  /** One change after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(parts: {
    files: ProposalFiles;
    writer: LogWriter;
    log: Log;
    entries: Map<string, Uint8Array>;
  }) {
    this.#files = parts.files;
    this.#writer = parts.writer;
    this.#log = parts.log;
    this.#entries = parts.entries;
  }

  /** Loads what waited when the last process ended. */
  static async open(files: ProposalFiles, writer: LogWriter, log: Log): Promise<Proposals> {
    const entries = new Map<string, Uint8Array>();
    for (const [id, entry] of await files.load()) {
      const parsed = parseEntry(entry);
      if (parsed.ok && idOf(parsed.value.note.text) === id) entries.set(id, entry);
      else {
        log.warn("proposal file unreadable, removed", { id });
        await files.remove(id);
      }
    }
    const proposals = new Proposals({ files, writer, log, entries });
    await proposals.#prune();
    return proposals;
  }

  /** What waits now. */
  async list(): Promise<readonly WaitingProposal[]> {
    return this.#inTurn(async () => {
      await this.#prune();
      return [...this.#entries].map(([id, entry]) => ({ id, entry }));
    });
  }

  /** Lets an entry wait that `author`, who calls, has signed; its id. */
  async propose(entry: Uint8Array, author: string): Promise<Result<string, ProposalRefusal>> {
    return this.#inTurn(async () => {
      const unfinished = this.#judge(entry);
      if (!unfinished.ok) return unfinished;
      const refusal = this.#whyNotNew(unfinished.value, author);
      if (refusal !== undefined) return refusal;
      const id = idOf(unfinished.value.text);
      if (this.#entries.has(id)) return ok(id);
      await this.#prune();
      const room = this.#whyNoRoom(unfinished.value);
      if (room !== undefined) return room;
      await this.#keep(id, unfinished.value.entry);
      return ok(id);
    });
  }

  /** Adds the signatures of `entry` to the proposal of the same text; the log's size once it was ordered, else 0. */
  async approve(entry: Uint8Array): Promise<Result<number, ProposalRefusal>> {
    return this.#inTurn(async () => {
      if (entry.byteLength > proposalBytesMax) return tooLarge();
      const parsed = parseEntry(entry);
      if (!parsed.ok) return parsed;
      const { text, signatures } = parsed.value.note;
      const id = idOf(text);
      const waiting = this.#entries.get(id);
      const note = waiting === undefined ? undefined : parseEntry(waiting);
      if (note === undefined || !note.ok)
        return fail("unknown-proposal", `${id}: withdrawn, expired, or ordered already`);
      const kept = note.value.note.signatures;
      const added = signatures.filter(({ name }) => !kept.some((one) => one.name === name));
      const merged = this.#judge(formatNote({ text, signatures: [...kept, ...added] }));
      if (!merged.ok) return merged;
      const useless = merged.value.uncounted.find(({ name }) => added.some((one) => one.name === name));
      if (useless !== undefined) return fail("unauthorised", `${useless.name}: ${useless.why}`);
      const isComplete = merged.value.missing.signatures + merged.value.missing.approvals === 0;
      if (added.length === 0 && !isComplete) return fail("nothing-new", "that signature is there already");
      if (added.length > 0) await this.#keep(id, merged.value.entry);
      return isComplete ? this.#order(id, merged.value.entry) : ok(0);
    });
  }

  /** Forgets a proposal; for its author, and for approvers. A signed entry stays good until it expires all the same. */
  async withdraw(
    id: string,
    by: { readonly name: string; readonly role: string },
  ): Promise<Result<true, ProposalRefusal>> {
    return this.#inTurn(async () => {
      const waiting = this.#entries.get(id);
      const parsed = waiting === undefined ? undefined : parseEntry(waiting);
      if (parsed === undefined || !parsed.ok) return fail("unknown-proposal", id);
      const { author } = parsed.value.statement;
      if (by.role !== "approver" && personOf(author) !== personOf(by.name))
        return fail("not-yours", `${author} proposed it; they or an approver may withdraw it`);
      await this.#forget(id);
      return ok(true);
    });
  }

  #judge(entry: Uint8Array): Result<UnfinishedEntry, ProposalRefusal> {
    if (entry.byteLength > proposalBytesMax) return tooLarge();
    return judgeUnfinished(this.#state, entry);
  }

  #whyNotNew(unfinished: UnfinishedEntry, caller: string): Result<never, ProposalRefusal> | undefined {
    const { statement, missing, uncounted } = unfinished;
    // Else whoever reads a withdrawn proposal could bring it back, and take its author's places.
    if (statement.author !== caller)
      return fail("not-the-author", `${caller} proposes for ${statement.author}`);
    if (statement.kind === "log.recover")
      return fail("offline-only", "a recovery collects its signatures in a file: troth log recover --sign");
    const [useless] = uncounted;
    if (useless !== undefined) return fail("unauthorised", `${useless.name}: ${useless.why}`);
    if (missing.signatures + missing.approvals === 0)
      return fail("nothing-missing", "it has all of its signatures: append it");
    const ahead = statement.expiresAtSeconds - (this.#state.genesis?.epochTimeSeconds ?? 0);
    return statement.expiresAtSeconds === 0 || ahead > lifetimeSecondsMax
      ? fail("without-end", `a proposal expires within ${lifetimeSecondsMax} seconds`)
      : undefined;
  }

  #whyNoRoom({ statement }: UnfinishedEntry): Result<never, ProposalRefusal> | undefined {
    let ofAuthor = 0;
    for (const entry of this.#entries.values()) {
      const parsed = parseEntry(entry);
      if (!parsed.ok || parsed.value.statement.author !== statement.author) continue;
      ofAuthor += 1;
      if (parsed.value.statement.sequence === statement.sequence)
        return fail("sequence-taken", `another proposal of yours has sequence ${statement.sequence}`);
    }
    if (ofAuthor >= perAuthorMax)
      return fail("too-many-proposals", `${perAuthorMax} of yours wait already; withdraw one`);
    return this.#entries.size >= proposalsMax
      ? fail("too-many-proposals", `${proposalsMax} wait already`)
      : undefined;
  }

  async #order(id: string, entry: Uint8Array): Promise<Result<number, ProposalRefusal>> {
    const written = await this.#writer.submit([entry]);
    if (written.ok) await this.#forget(id);
    return written;
  }

  /** Forgets what can never take effect any more. */
  async #prune(): Promise<void> {
    if (this.#prunedAtSize === this.#writer.tree.size) return;
    this.#prunedAtSize = this.#writer.tree.size;
    for (const [id, entry] of this.#entries) {
      const judged = judgeUnfinished(this.#state, entry);
      if (!judged.ok) await this.#forget(id);
    }
  }

  async #keep(id: string, entry: Uint8Array): Promise<void> {
    await this.#files.save(id, entry);
    this.#entries.set(id, entry);
  }

  async #forget(id: string): Promise<void> {
    this.#entries.delete(id);
    try {
      await this.#files.remove(id);
    } catch (error) {
      // It comes back at the next start and is judged then like any other.
      this.#log.warn("proposal file not removed", { id, error: messageOf(error) });
    }
  }

  async #inTurn<Value>(act: () => Promise<Value>): Promise<Value> {
    const turn = this.#turn.then(act);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  get #state(): TrustState {
    return this.#writer.state;
  }
}

function tooLarge(): Result<never, "too-large"> {
  return fail("too-large", `over ${proposalBytesMax} bytes`);
}

function idOf(text: string): string {
  return hexOf(sha256(bytesOf(text)));
}
