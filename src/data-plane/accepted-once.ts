import type { RandomBytes } from "../base/clock.ts";
import { type NonceVerdict, type NonceWheel, nonceWheel, type ReplayWindow } from "../request-token/index.ts";

/** How many memories of narrower windows are asked besides; while there are as many, the window gets no wider. */
export const narrowerMemoriesMax = 3;

/** What remembering takes. */
export interface AcceptedOnceOptions {
  readonly randomBytes: RandomBytes;
  /** The issuer's time, which never goes back; read only once a token has come that could be checked. */
  readonly issuerMillis: () => number;
  readonly monotonicMillis: () => number;
}

/** The memory of a window that was narrower. */
interface Narrower {
  readonly wheel: NonceWheel;
  /** The newest time of all tokens that were accepted under it; of a later one it knows nothing. */
  readonly newestMillis: number;
}

/**
 * The request tokens that a proxy has accepted, remembered for as long as they could be shown again, also where the
 * window is made wider: then what the narrower one has forgotten counts as used. So does every token of before the end
 * of a time in which none was asked for, since what was shown then is remembered nowhere.
 */
export class AcceptedOnce implements Pick<NonceWheel, "keep"> {
  readonly #options: AcceptedOnceOptions;
  #wanted: ReplayWindow | undefined;
  #window: ReplayWindow | undefined;
  #wheel: NonceWheel | undefined;
  /** The oldest first. */
  readonly #narrower: Narrower[] = [];
  /** Of all tokens that the wheel in use was asked about. */
  #newestMillis = Number.NEGATIVE_INFINITY;
  /** A token of this time or before counts as used: nobody knows any more. */
  #unknownUntilMillis = Number.NEGATIVE_INFINITY;
  #isOff = false;
  /** When tokens were asked for again, on the monotonic clock; undefined once that is known in the issuer's time. */
  #askedAgainMillis: number | undefined;

  constructor(options: AcceptedOnceOptions) {
    this.#options = options;
  }

  /** Goes by another window from now on, a narrower one needs no other memory; undefined where no token is asked for. */
  use(window: ReplayWindow | undefined): void {
    if (window !== undefined && this.#isOff) this.#askedAgainMillis = this.#options.monotonicMillis();
    this.#isOff = window === undefined;
    this.#wanted = window;
    this.#widen();
  }

  keep(bytes: Uint8Array, offset: number, issuedAtMillis: number): NonceVerdict {
    if (this.#narrower.length > 0) this.#forget();
    if (this.#askedAgainMillis !== undefined) this.#drawLine(this.#askedAgainMillis);
    if (this.#wheel === undefined) return "full";
    if (issuedAtMillis <= this.#unknownUntilMillis) return "forgotten";
    for (const { wheel, newestMillis } of this.#narrower) {
      if (issuedAtMillis > newestMillis) continue;
      const verdict = wheel.keep(bytes, offset, issuedAtMillis);
      if (verdict !== "fresh") return verdict;
    }
    if (issuedAtMillis > this.#newestMillis) this.#newestMillis = issuedAtMillis;
    return this.#wheel.keep(bytes, offset, issuedAtMillis);
  }

  #widen(): void {
    const [had, wanted] = [this.#window, this.#wanted];
    if (wanted === undefined || (had !== undefined && covers(had, wanted))) return;
    if (this.#wheel !== undefined && this.#newestMillis !== Number.NEGATIVE_INFINITY) {
      // Until the oldest has ended, the memory of the window that there is refuses what it cannot know.
      if (this.#narrower.length >= narrowerMemoriesMax) return;
      this.#narrower.push({ wheel: this.#wheel, newestMillis: this.#newestMillis });
    }
    const window = {
      pastMillis: Math.max(wanted.pastMillis, had?.pastMillis ?? 0),
      futureMillis: Math.max(wanted.futureMillis, had?.futureMillis ?? 0),
    };
    this.#window = window;
    this.#wheel = nonceWheel({ window, randomBytes: this.#options.randomBytes });
  }

  /** Drops the memories whose tokens are all too old by now; should the window get wider yet, they count as used. */
  #forget(): void {
    const oldestMillis = this.#options.issuerMillis() - (this.#window?.pastMillis ?? 0);
    for (let [first] = this.#narrower; first !== undefined; [first] = this.#narrower) {
      if (first.newestMillis >= oldestMillis) return;
      this.#narrower.shift();
      this.#unknownUntilMillis = Math.max(this.#unknownUntilMillis, first.newestMillis);
      this.#widen();
    }
  }

  #drawLine(askedAgainMillis: number): void {
    const { issuerMillis, monotonicMillis } = this.#options;
    const lineMillis = issuerMillis() - (monotonicMillis() - askedAgainMillis);
    this.#unknownUntilMillis = Math.max(this.#unknownUntilMillis, lineMillis);
    this.#askedAgainMillis = undefined;
  }
}

function covers(window: ReplayWindow, other: ReplayWindow): boolean {
  return other.pastMillis <= window.pastMillis && other.futureMillis <= window.futureMillis;
}
