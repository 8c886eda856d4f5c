import type { KeyObject } from "node:crypto";
import type { RandomBytes } from "../base/clock.ts";
import { importRequestTokenKey, requestTokenKeyBytes } from "../request-token/index.ts";
import type { KeyStore } from "../storage/index.ts";
import { keyFault } from "./log-keys.ts";

/** How many key periods a root key is for: 30 days. */
export const keyPeriodsPerRoot = 4_320;

/** What keeping root keys takes. */
export interface RequestTokenRootsOptions {
  readonly keyStore: KeyStore;
  readonly randomBytes: RandomBytes;
}

/**
 * The keys that all keys for request tokens are derived from; nothing outside of this process ever has one. There is one
 * for 30 days, from one key period's boundary to another's; it is made when its first key is, and destroyed when the
 * second one after it is made.
 */
export class RequestTokenRoots {
  readonly #options: RequestTokenRootsOptions;
  readonly #roots = new Map<number, KeyObject>();

  constructor(options: RequestTokenRootsOptions) {
    this.#options = options;
  }

  /** The root keys of all key periods from one to another, as a look-up for them. Throws where one was damaged. */
  async rootsFor(firstPeriod: number, lastPeriod: number): Promise<(keyPeriod: number) => KeyObject> {
    for (let number = numberOf(firstPeriod); number <= numberOf(lastPeriod); number += 1)
      if (!this.#roots.has(number)) this.#roots.set(number, await this.#open(number));
    return (keyPeriod) => {
      const root = this.#roots.get(numberOf(keyPeriod));
      if (root === undefined) throw new RangeError(`no root key for key period ${keyPeriod}`);
      return root;
    };
  }

  async #open(number: number): Promise<KeyObject> {
    const { keyStore, randomBytes } = this.#options;
    const name = nameOf(number);
    let isNew = false;
    const bytes = await keyStore.loadOrCreate(name, () => {
      isNew = true;
      return randomBytes(requestTokenKeyBytes);
    });
    if (bytes.byteLength !== requestTokenKeyBytes) throw keyFault(name, "is damaged");
    const key = importRequestTokenKey(bytes);
    bytes.fill(0);
    if (isNew) {
      await keyStore.remove(nameOf(number - 2));
      this.#roots.delete(number - 2);
    }
    return key;
  }
}

function numberOf(keyPeriod: number): number {
  return Math.floor(keyPeriod / keyPeriodsPerRoot);
}

function nameOf(number: number): string {
  return `request-token-root-${number}`;
}
