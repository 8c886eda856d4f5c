import type { RandomBytes } from "../base/clock.ts";
import { type NonceVerdict, type NonceWheel, nonceWheel, type ReplayWindow } from "../request-token/index.ts";

/**
 * The request tokens that a proxy has accepted, remembered for as long as they could be shown again, also where the
 * window is made wider: then what the narrower one has forgotten counts as used.
 */
export class AcceptedOnce implements Pick<NonceWheel, "keep"> {
  readonly #randomBytes: RandomBytes;
  readonly #nowMillis: () => number;
  #window: ReplayWindow | undefined;
  #wheel: NonceWheel | undefined;
  #before: NonceWheel | undefined;
  /** When the tokens that only the narrower one has seen are too old, in the issuer's time. */
  #beforeUntilMillis = 0;

  constructor(randomBytes: RandomBytes, nowMillis: () => number) {
    this.#randomBytes = randomBytes;
    this.#nowMillis = nowMillis;
  }

  /** Goes by another window from now on; a narrower one needs no other memory. */
  use(window: ReplayWindow): void {
    const had = this.#window;
    if (had !== undefined && window.pastMillis <= had.pastMillis && window.futureMillis <= had.futureMillis)
      return;
    const wider = {
      pastMillis: Math.max(window.pastMillis, had?.pastMillis ?? 0),
      futureMillis: Math.max(window.futureMillis, had?.futureMillis ?? 0),
    };
    this.#before = this.#wheel;
    this.#beforeUntilMillis = this.#nowMillis() + wider.pastMillis + wider.futureMillis;
    this.#window = wider;
    this.#wheel = nonceWheel({ window: wider, randomBytes: this.#randomBytes });
  }

  keep(bytes: Uint8Array, offset: number, issuedAtMillis: number): NonceVerdict {
    if (this.#wheel === undefined) return "full";
    if (this.#before !== undefined) {
      if (this.#nowMillis() > this.#beforeUntilMillis) this.#before = undefined;
      else {
        const verdict = this.#before.keep(bytes, offset, issuedAtMillis);
        if (verdict !== "fresh") return verdict;
      }
    }
    return this.#wheel.keep(bytes, offset, issuedAtMillis);
  }
}
