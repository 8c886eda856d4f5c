const slotMillis = 1_000;
/** The window over which requests and retries are counted, in slots of a second. */
const windowSlots = 10;
/** Retries in a window that are allowed whatever the share: where there is little traffic a share of it is nothing. */
export const retriesPerWindowMin = 10;
/** Retries per hundred requests where the policy does not say. */
export const retryBudgetPercentDefault = 20;

/**
 * How many retries of calls of one service one proxy may make: so many per hundred requests of the last ten seconds,
 * and a few always. However badly the service fails, it sees hardly more requests for being asked again.
 */
export class RetryBudget {
  readonly #requests = Array.from({ length: windowSlots }, () => 0);
  readonly #retries = Array.from({ length: windowSlots }, () => 0);
  #requestsInWindow = 0;
  #retriesInWindow = 0;
  #slot = Number.NEGATIVE_INFINITY;

  /** Takes note of a request that is no retry. */
  countRequest(nowMillis: number): void {
    const place = this.#placeAt(nowMillis);
    this.#requests[place] = (this.#requests[place] ?? 0) + 1;
    this.#requestsInWindow += 1;
  }

  /** Takes one retry out of the budget; false where there is none left. */
  take(percent: number, nowMillis: number): boolean {
    const place = this.#placeAt(nowMillis);
    const allowed = retriesPerWindowMin + Math.floor((this.#requestsInWindow * percent) / 100);
    if (this.#retriesInWindow >= allowed) return false;
    this.#retries[place] = (this.#retries[place] ?? 0) + 1;
    this.#retriesInWindow += 1;
    return true;
  }

  /** Where the present second is counted; what is older than the window is forgotten. */
  #placeAt(nowMillis: number): number {
    const slot = Math.floor(nowMillis / slotMillis);
    for (let old = Math.max(this.#slot + 1, slot - windowSlots + 1); old <= slot; old += 1) {
      const place = old % windowSlots;
      this.#requestsInWindow -= this.#requests[place] ?? 0;
      this.#retriesInWindow -= this.#retries[place] ?? 0;
      this.#requests[place] = 0;
      this.#retries[place] = 0;
    }
    this.#slot = Math.max(this.#slot, slot);
    return this.#slot % windowSlots;
  }
}
