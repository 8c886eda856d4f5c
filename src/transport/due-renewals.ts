import type { Clock } from "../base/clock.ts";
import { renewalSpreadMillis } from "../identity/index.ts";
import { type CertificateRow, type TrustState, taintedKeyIds } from "../trust-log/index.ts";
import type { SvidKeeper } from "./svid-keeper.ts";

/** While only a tainted authority signs, it is not asked again sooner. */
const taintedAgainMillis = 30_000;

/** Why an SVID is replaced before its time. */
export type DueRenewal =
  /** The log does not name it any more, so it counts for nobody. */
  | "unnamed"
  /** People have asked for it (`instance.renew`). */
  | "due"
  /** Its authority is tainted. */
  | "tainted";

/**
 * Has a keeper replace its SVID where the log wants that. What counts for nobody is replaced at once; of what goes on
 * counting there may be thousands, and each is replaced at a moment of its own within a time that grows with their number.
 */
export class DueRenewals {
  readonly #keeper: Pick<SvidKeeper, "current" | "renew" | "renewWithin">;
  readonly #clock: Pick<Clock, "monotonicMillis">;
  /** The SVID for which a moment has been drawn: drawn again at each step, it would come ever sooner. */
  #drawnFor = "";
  #taintedAgainMillis = -Infinity;

  constructor(
    keeper: Pick<SvidKeeper, "current" | "renew" | "renewWithin">,
    clock: Pick<Clock, "monotonicMillis">,
  ) {
    this.#keeper = keeper;
    this.#clock = clock;
  }

  /** The log has changed. Says why the SVID is to be replaced, where that has just been found. */
  stepped(state: TrustState): DueRenewal | undefined {
    const { sha256: id, authorityKeyId = "of none" } = this.#keeper.current;
    const row = state.certificates.get(id);
    if (row === undefined) {
      this.#keeper.renew();
      return "unnamed";
    }
    if (this.#drawnFor === id) return undefined;
    if (row.isDue === true)
      return this.#replace(
        "due",
        id,
        countOf(state, (one) => one.isDue === true),
      );
    const tainted = taintedKeyIds(state);
    if (!tainted.has(authorityKeyId)) return undefined;
    const nowMillis = this.#clock.monotonicMillis();
    if (nowMillis < this.#taintedAgainMillis) return undefined;
    this.#taintedAgainMillis = nowMillis + taintedAgainMillis;
    return this.#replace(
      "tainted",
      id,
      countOf(state, (one) => tainted.has(one.authorityKeyId ?? "of none")),
    );
  }

  #replace(why: DueRenewal, id: string, count: number): DueRenewal {
    this.#drawnFor = id;
    this.#keeper.renewWithin(renewalSpreadMillis(count));
    return why;
  }
}

function countOf(state: TrustState, isOne: (row: CertificateRow) => boolean): number {
  let count = 0;
  for (const [, row] of state.certificates.entries()) if (isOne(row)) count += 1;
  return count;
}
