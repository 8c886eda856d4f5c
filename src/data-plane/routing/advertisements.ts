import { hexOf, sameBytes } from "../../base/bytes.ts";
import type { Clock } from "../../base/clock.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { sha256 } from "../../crypto/index.ts";
import { type Advertisement, type Endpoint, isSameAdvertisement } from "../../protocol/index.ts";
import { holdsPrefix, type InstanceRow, type TrustState } from "../../trust-log/index.ts";
import {
  type AdvertisedInstance,
  advertisedPrefixesMax,
  isSignedAdvertisement,
  parseAdvertisement,
} from "./advertisement.ts";

/** Signatures checked in one turn of the event loop, so that requests are not held up by a list of thousands. */
const signaturesPerTurnMax = 16;
/** Judged again at one step of the log, or one sweep; the rest is at the next. */
const judgedAgainMax = 1_024;
/** Longer than an honest proxy can be ahead of this one. */
const waitMillisMax = 10_000;
/** For so long after a withdrawal its holder may not have heard of it. */
const withdrawalMillisMax = 5_000;

/** The limits of this file, for whoever wants to see them. */
export const advertisementLimits: Readonly<Record<string, number>> = {
  signaturesPerTurnMax,
  judgedAgainMax,
  waitMillisMax,
  withdrawalMillisMax,
  advertisedPrefixesMax,
};

/** Why an advertisement is not believed. */
export type AdvertisementRefusal =
  | "malformed"
  | "other-log"
  | "other-instance"
  | "unknown-instance"
  | "prefix-not-granted"
  | "old-sequence"
  | "unknown-key"
  | "ahead-of-log"
  | "bad-signature";

/** Refusals that a step of the log may be the end of; of the first two, an honest proxy may just be ahead. */
const wantReasons = ["ahead-of-log", "unknown-key", "unknown-instance", "prefix-not-granted"] as const;

/** What an advertisement wants of the log, and what of the log it was judged by. */
interface Want {
  readonly reason: (typeof wantReasons)[number];
  readonly row: InstanceRow | undefined;
  readonly grantsDigest: string;
  /** Since when it is for this reason. */
  readonly sinceMillis: number;
}

/** An advertisement that is not believed: who is named in it, and, of a prefix, who holds that. */
export interface RefusedAdvertisement {
  readonly reason: AdvertisementRefusal;
  readonly instance: string;
  /** That the log has the instance as; empty where it has none. */
  readonly service: string;
  readonly prefix: string;
  /** Empty where nobody does. */
  readonly holder: string;
  /** Whether it may be the word of an honest proxy that has not heard of a withdrawal. */
  readonly isLate: boolean;
}

/** What judging advertisements takes. */
export interface AdvertisementParts {
  readonly state: () => TrustState;
  /** How many entries of the log this proxy has folded. */
  readonly size: () => number;
  readonly clock: Pick<Clock, "monotonicMillis">;
  /** Something is advertised, or no longer, that was not. */
  readonly changed: () => void;
  readonly refused: (refused: RefusedAdvertisement) => void;
  /** Whether nothing is checked, so that a test can see what the checks are for. */
  readonly dangerBelieveAll: () => boolean;
  /** Calls back in a later turn of the event loop. */
  readonly later: (callback: () => void) => void;
}

interface Known {
  /** What was relayed last, and with which address. */
  told: Advertisement;
  address: string;
  /** What it last said that was believed, and how it was written. */
  said: AdvertisedInstance | undefined;
  statement: Uint8Array | undefined;
  /** What it says and nobody has believed yet. */
  next: AdvertisedInstance | undefined;
  /** Why it was last refused: that is not told again of the same word. */
  toldOf: AdvertisementRefusal | undefined;
  /** Counts the lists in which it was. */
  round: number;
  isListed: boolean;
}

/**
 * What other proxies say that they serve, as far as it can be believed. Each advertisement is checked once: that the log
 * lets its service have the prefixes first, which costs a look-up each, then that it is news, and its signature last.
 * A prefix that is withdrawn counts no more at once, since whoever routes asks the log who holds it.
 */
export class Advertisements {
  readonly #parts: AdvertisementParts;
  readonly #known = new Map<string, Known>();
  /** Which instances advertise a prefix, by their own signature. */
  readonly #advertisers = new Map<string, Set<string>>();
  /** Those whose signature is to be checked, in this order. */
  readonly #unchecked = new Set<string>();
  /** Those that want something of the log, the one first that was judged longest ago. */
  readonly #wanting = new Map<string, Want>();
  /** Who held what is advertised, and when it was taken from them. */
  readonly #holders = new Map<string, string>();
  readonly #withdrawn = new Map<string, number>();
  #grantsDigest = "";
  #round = 0;
  #isClosed = false;
  #isChecking = false;

  constructor(parts: AdvertisementParts) {
    this.#parts = parts;
  }

  /** Which instances advertise a prefix; whether they may is for the caller to ask the log. */
  of(prefix: string): ReadonlySet<string> | undefined {
    return this.#advertisers.get(prefix);
  }

  /** What an instance was last believed to say; undefined where nothing was. */
  by(instance: string): AdvertisedInstance | undefined {
    const known = this.#known.get(instance);
    return known?.isListed === true ? known.said : undefined;
  }

  /** Takes the present list of endpoints; what is in it as before is not looked at again. */
  take(endpoints: readonly Endpoint[]): void {
    this.#round += 1;
    for (const endpoint of endpoints) {
      const { instance, address, advertisement } = endpoint;
      const known = this.#known.get(instance);
      if (advertisement === undefined) continue;
      if (
        known?.isListed === true &&
        known.address === address &&
        isSameAdvertisement(known.told, advertisement)
      ) {
        known.told = advertisement;
        known.round = this.#round;
      } else this.#hear(endpoint, advertisement, known);
    }
    for (const [instance, known] of this.#known)
      if (known.isListed && known.round !== this.#round) this.#unlist(instance, known);
    this.#checkSignatures();
  }

  /** Judges again what wanted something of the log that this step of it may have brought. */
  stepped(): void {
    this.#noteWithdrawals();
    this.#lookAgain();
    const { instances } = this.#parts.state();
    for (const [instance, { isListed }] of this.#known)
      if (!isListed && !instances.has(instance)) this.#known.delete(instance);
    this.#checkSignatures();
  }

  /** Tells of what has waited too long, and looks at what the steps left; called now and then. */
  sweep(): void {
    const now = this.#parts.clock.monotonicMillis();
    for (const [key, atMillis] of this.#withdrawn)
      if (now - atMillis > withdrawalMillisMax) this.#withdrawn.delete(key);
    this.#lookAgain();
    this.#checkSignatures();
  }

  /** Checks nothing more. */
  close(): void {
    this.#isClosed = true;
  }

  #hear({ instance, address }: Endpoint, told: Advertisement, before: Known | undefined): void {
    const known: Known = before ?? {
      told,
      address,
      said: undefined,
      statement: undefined,
      next: undefined,
      toldOf: undefined,
      round: 0,
      isListed: true,
    };
    // What was believed before counts until what takes its place does, at the address that it was said of.
    if (known.address !== address) this.#withdrawWord(instance, known);
    known.told = told;
    known.address = address;
    known.round = this.#round;
    known.isListed = true;
    known.toldOf = undefined;
    this.#wanting.delete(instance);
    this.#known.set(instance, known);
    const read = parseAdvertisement(told);
    known.next = read.ok ? read.value : undefined;
    this.#judge(instance, known);
  }

  /** All but the signature, which costs more than the rest and comes last. */
  #judge(instance: string, known: Known): void {
    const before = this.#wanting.get(instance);
    this.#wanting.delete(instance);
    // Of a word that was to be checked, this one may have taken the place.
    this.#unchecked.delete(instance);
    const judged = this.#judged(instance, known);
    if (judged.ok) {
      this.#unchecked.add(instance);
      return;
    }
    const { reason, detail: prefix } = judged;
    const wanted = wantReasons.find((one) => one === reason);
    if (wanted === undefined) {
      this.#refuse(instance, known, reason);
      return;
    }
    const row = this.#parts.state().instances.get(instance);
    const now = this.#parts.clock.monotonicMillis();
    const sinceMillis = before?.reason === wanted ? before.sinceMillis : now;
    this.#wanting.set(instance, { reason: wanted, row, grantsDigest: this.#grantsDigest, sinceMillis });
    if (!mayBeAhead(wanted)) this.#refuse(instance, known, wanted, prefix);
  }

  #judged(instance: string, known: Known): Result<true, AdvertisementRefusal> {
    const { next: said, told, address } = known;
    const state = this.#parts.state();
    if (said === undefined) return fail("malformed");
    if (this.#parts.dangerBelieveAll()) return ok(true);
    if (said.log !== state.genesis?.genesis) return fail("other-log");
    if (said.instance !== instance || said.address !== address) return fail("other-instance");
    if (said.size > this.#parts.size()) return fail("ahead-of-log");
    const row = state.instances.get(instance);
    if (row === undefined) return fail("unknown-instance");
    const refused = said.prefixes.filter((prefix) => !holdsPrefix(state, row.service, prefix));
    const [first = ""] = refused;
    if (refused.length > 0 && refused.length === said.prefixes.length)
      return fail("prefix-not-granted", first);
    if (!isNews(known, said)) return fail("old-sequence");
    if (!isKeyOf(row, told)) return fail("unknown-key");
    if (refused.length > 0) this.#refuse(instance, known, "prefix-not-granted", first);
    return ok(true);
  }

  /** Judges those again whose want the log may have met by now; to see that costs a look-up each. */
  #lookAgain(): void {
    const now = this.#parts.clock.monotonicMillis();
    let judged = 0;
    for (const [instance, want] of this.#wanting) {
      const known = this.#known.get(instance);
      if (known === undefined) continue;
      if (this.#mayBeMet(instance, known, want)) {
        // What is judged goes to the end, and wants something else by then.
        this.#judge(instance, known);
        judged += 1;
        if (judged >= judgedAgainMax) return;
      } else if (mayBeAhead(want.reason) && now - want.sinceMillis > waitMillisMax)
        this.#refuse(instance, known, want.reason);
    }
  }

  #mayBeMet(instance: string, { next }: Known, { reason, row, grantsDigest }: Want): boolean {
    if (reason === "ahead-of-log") return (next?.size ?? 0) <= this.#parts.size();
    if (reason === "prefix-not-granted" && grantsDigest !== this.#grantsDigest) return true;
    return row !== this.#parts.state().instances.get(instance);
  }

  #checkSignatures(): void {
    if (this.#isClosed || this.#isChecking) return;
    let hasChanged = false;
    for (let count = 0; count < signaturesPerTurnMax; count += 1) {
      const [instance] = this.#unchecked;
      if (instance === undefined) break;
      this.#unchecked.delete(instance);
      const known = this.#known.get(instance);
      if (known?.next === undefined || !known.isListed) continue;
      if (!this.#parts.dangerBelieveAll() && !isSignedAdvertisement(known.told)) {
        this.#refuse(instance, known, "bad-signature");
        continue;
      }
      if (this.#believe(instance, known, known.next)) hasChanged = true;
    }
    if (hasChanged) this.#parts.changed();
    if (this.#unchecked.size === 0) return;
    this.#isChecking = true;
    this.#parts.later(() => {
      this.#isChecking = false;
      this.#checkSignatures();
    });
  }

  /** Whether that changes who advertises what. */
  #believe(instance: string, known: Known, said: AdvertisedInstance): boolean {
    const before = new Set(known.said?.prefixes ?? []);
    const now = new Set(said.prefixes);
    known.said = said;
    known.statement = known.told.statement;
    known.next = undefined;
    const [gone, come] = [before.difference(now), now.difference(before)];
    for (const prefix of gone) this.#drop(prefix, instance);
    for (const prefix of come) {
      const advertisers = this.#advertisers.get(prefix) ?? new Set();
      this.#advertisers.set(prefix, advertisers.add(instance));
      const holder = this.#parts.state().prefixes.get(prefix)?.holder;
      if (holder !== undefined) this.#holders.set(prefix, holder);
    }
    return gone.size + come.size > 0;
  }

  #unlist(instance: string, known: Known): void {
    known.isListed = false;
    known.next = undefined;
    this.#wanting.delete(instance);
    this.#withdrawWord(instance, known);
  }

  /** Nothing that it said counts; the number is kept, so that nobody can say it again in its name. */
  #withdrawWord(instance: string, known: Known): void {
    const { said } = known;
    if (said === undefined || said.prefixes.length === 0) return;
    for (const prefix of said.prefixes) this.#drop(prefix, instance);
    known.said = { ...said, prefixes: [] };
    this.#parts.changed();
  }

  #drop(prefix: string, instance: string): void {
    const advertisers = this.#advertisers.get(prefix);
    advertisers?.delete(instance);
    if (advertisers?.size !== 0) return;
    this.#advertisers.delete(prefix);
    this.#holders.delete(prefix);
  }

  #noteWithdrawals(): void {
    const { prefixes } = this.#parts.state();
    const digest = prefixes.digest();
    if (digest === this.#grantsDigest) return;
    this.#grantsDigest = digest;
    for (const [prefix, holder] of this.#holders) {
      const now = prefixes.get(prefix)?.holder;
      if (now === holder) continue;
      this.#withdrawn.set(`${prefix} ${holder}`, this.#parts.clock.monotonicMillis());
      if (now === undefined) this.#holders.delete(prefix);
      else this.#holders.set(prefix, now);
    }
    this.#parts.changed();
  }

  /** Tells of a refusal, and of the same one of the same word no more. */
  #refuse(instance: string, known: Known, reason: AdvertisementRefusal, prefix = ""): void {
    if (known.toldOf === reason) return;
    known.toldOf = reason;
    const { instances, prefixes, services } = this.#parts.state();
    const service = instances.get(instance)?.service ?? "";
    const own = services.has(prefix) ? prefix : "";
    const holder = prefixes.get(prefix)?.holder ?? own;
    const isLate = this.#withdrawn.has(`${prefix} ${service}`);
    this.#parts.refused({ reason, instance, service, prefix, holder, isLate });
  }
}

/** What was believed before is believed again, as of an instance that was away for a moment; nothing older is. */
function isNews({ said: last, statement, told }: Known, said: AdvertisedInstance): boolean {
  if (last === undefined || said.sequence > last.sequence) return true;
  return statement !== undefined && sameBytes(statement, told.statement);
}

function mayBeAhead(reason: AdvertisementRefusal): boolean {
  return reason === "ahead-of-log" || reason === "unknown-key";
}

function isKeyOf({ keySha256 }: InstanceRow, { publicKey }: Advertisement): boolean {
  return keySha256 !== undefined && keySha256 === hexOf(sha256(publicKey));
}
