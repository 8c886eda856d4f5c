import { StateTable } from "./state-table.ts";
import type { PrefixRow } from "./trust-state.ts";

const none: ReadonlySet<string> = new Set();

/** The table of prefix grants, which also knows without a look at all what was handed on of each, and if any has ended. */
export class PrefixTable extends StateTable<PrefixRow> {
  /** Follows from the rows' `under`, so the digest says nothing of it. */
  readonly #parts = new Map<string, Set<string>>();

  /** No row ends earlier. */
  #endsFromSeconds = Number.POSITIVE_INFINITY;

  constructor() {
    super("prefixes");
  }

  /** The prefixes that were handed on of this one by its holder, and not further on of those. */
  partsOf(prefix: string): ReadonlySet<string> {
    return this.#parts.get(prefix) ?? none;
  }

  /** The prefix and all that was handed on of it, and on of that, whether or not there is a grant of it. */
  subtreeOf(prefix: string): ReadonlySet<string> {
    const all = new Set([prefix]);
    // What is added on the way is visited too.
    for (const one of all) for (const part of this.partsOf(one)) all.add(part);
    return all;
  }

  /** The prefixes whose last second is before this one. */
  endedBefore(seconds: number): readonly string[] {
    if (this.#endsFromSeconds >= seconds) return [];
    const ended: string[] = [];
    let first = Number.POSITIVE_INFINITY;
    for (const [prefix, { notAfterSeconds }] of this.entries()) {
      if (notAfterSeconds === 0) continue;
      first = Math.min(first, notAfterSeconds);
      if (notAfterSeconds < seconds) ended.push(prefix);
    }
    this.#endsFromSeconds = first;
    return ended;
  }

  override set(prefix: string, row: PrefixRow): void {
    this.#detach(prefix);
    super.set(prefix, row);
    if (row.notAfterSeconds !== 0)
      this.#endsFromSeconds = Math.min(this.#endsFromSeconds, row.notAfterSeconds);
    if (row.under === "") return;
    const parts = this.#parts.get(row.under);
    if (parts === undefined) this.#parts.set(row.under, new Set([prefix]));
    else parts.add(prefix);
  }

  override delete(prefix: string): boolean {
    this.#detach(prefix);
    return super.delete(prefix);
  }

  #detach(prefix: string): void {
    const under = this.get(prefix)?.under ?? "";
    const parts = this.#parts.get(under);
    if (parts?.delete(prefix) === true && parts.size === 0) this.#parts.delete(under);
  }
}
