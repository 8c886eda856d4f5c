import type { Payer, Region } from "./order.ts";

/** What the shop sells, with prices in cents of any currency. */
export const priceCentsByItem: ReadonlyMap<string, number> = new Map([
  ["teapot", 3_490],
  ["lantern", 2_250],
  ["notebook", 690],
  ["umbrella", 1_999],
  ["bicycle-bell", 1_275],
  ["chess-set", 5_400],
  ["wool-blanket", 7_950],
]);

/** Draws sample data: the same seed gives the same orders, however often it is run. */
export class SampleOrders {
  #state: number;

  constructor(seed: number) {
    // Neighbouring seeds must not give similar orders, and zero is the one state that xorshift never leaves.
    this.#state = Math.imul(seed + 1, 0x9e3779b1) || 1;
  }

  /** Something that the shop sells. */
  item(): string {
    return this.#pick([...priceCentsByItem.keys()]);
  }

  /** A region; most shoppers are European. */
  region(): Region {
    return this.#pick(["EU", "EU", "US", "APAC"]);
  }

  /** Somebody from a region, with a card that payment providers publish for tests. */
  payer(region: Region): Payer {
    const cardHolder = this.#pick(cardHoldersByRegion[region]);
    const email = `${cardHolder.toLowerCase().replaceAll(" ", ".")}@example.com`;
    return { region, cardNumber: this.#pick(testCardNumbers), cardHolder, email };
  }

  #pick<Choice>(choices: readonly Choice[]): Choice {
    const choice = choices[this.#draw() % choices.length];
    if (choice === undefined) throw new RangeError("nothing to choose from");
    return choice;
  }

  /** The next number below 2^32: xorshift32 (Marsaglia 2003). For sample data only, since anybody can predict it. */
  #draw(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return this.#state >>> 0;
  }
}

const cardHoldersByRegion: Readonly<Record<Region, readonly string[]>> = {
  EU: ["Agnes Vermeulen", "Bruno Castelli", "Clara Lindqvist", "Dimitri Papadakis", "Edith Kowalska"],
  US: ["Grace Whitfield", "Henry Okafor", "Irene Delgado", "Jack Pemberton"],
  APAC: ["Kenji Morimoto", "Lakshmi Raman", "Mei Tan", "Noah Fairweather"],
};

const testCardNumbers = [
  "4111111111111111",
  "4242424242424242",
  "4012888888881881",
  "4000056655665556",
  "5555555555554444",
  "5105105105105100",
  "2223003122003222",
  "378282246310005",
  "371449635398431",
  "6011111111111117",
  "6011000990139424",
  "3530111333300000",
] as const;
