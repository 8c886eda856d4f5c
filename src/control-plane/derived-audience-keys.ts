import type { KeyObject } from "node:crypto";
import { deriveAudienceKey } from "../request-token/index.ts";

/** Of so many audiences the keys are kept; those of the one that was longest not asked for are derived again. */
export const keptAudiencesMax = 128;
/** A day's, and those of the periods around it. */
const keptPeriodsMax = 160;

/**
 * The audience keys that were derived of late: all callers of one audience are given keys that are derived from the same
 * ones, most often at about the same time, and then again in each key period.
 */
export class DerivedAudienceKeys {
  readonly #kept = new Map<string, Map<number, KeyObject>>();

  /** The key of an audience for a key period, whose root key is always the same. */
  of(root: KeyObject, keyPeriod: number, audience: string): KeyObject {
    const own = this.#keysOf(audience);
    const known = own.get(keyPeriod);
    if (known !== undefined) return known;
    const key = deriveAudienceKey(root, keyPeriod, audience);
    own.set(keyPeriod, key);
    for (const oldest of own.keys().take(Math.max(0, own.size - keptPeriodsMax))) own.delete(oldest);
    return key;
  }

  #keysOf(audience: string): Map<number, KeyObject> {
    const known = this.#kept.get(audience) ?? new Map<number, KeyObject>();
    // Set anew, so that the first is always the one that was longest not asked for.
    this.#kept.delete(audience);
    this.#kept.set(audience, known);
    for (const idle of this.#kept.keys().take(Math.max(0, this.#kept.size - keptAudiencesMax)))
      this.#kept.delete(idle);
    return known;
  }
}
