import type { CalledInstance } from "../protocol/index.ts";

/** What callers say of an instance counts for so long. */
const windowMillis = 10_000;
/** Pairs of a caller and an instance that it calls; of those beyond nothing is known. */
const pairsMax = 100_000;
/** Reports of one caller that are told apart within the window. */
const reportsMax = 24;

/** What one caller has seen of an instance within the last ten seconds. */
export interface SeenByCaller {
  readonly requests: number;
  readonly failures: number;
}

interface Pair extends SeenByCaller {
  readonly increases: readonly (SeenByCaller & { readonly atMillis: number })[];
}

/** What callers report of the instances that they call: counts that only grow, made into those of the last seconds. */
export class ObservedCalls {
  readonly #byCaller = new Map<string, Set<string>>();
  readonly #byCalled = new Map<string, Map<string, Pair>>();
  #count = 0;

  /** Takes what a caller reports. */
  note(caller: string, called: readonly CalledInstance[], nowMillis: number): void {
    for (const { instance, requests, failures } of called) {
      // What an instance says of itself is told elsewhere, and counts for less.
      if (instance === caller) continue;
      const callers = this.#byCalled.get(instance) ?? new Map<string, Pair>();
      const known = callers.get(caller);
      if (known === undefined && this.#count >= pairsMax) continue;
      if (known === undefined) this.#count += 1;
      callers.set(caller, increased(known, [Number(requests), Number(failures), nowMillis]));
      this.#byCalled.set(instance, callers);
      const own = this.#byCaller.get(caller) ?? new Set();
      this.#byCaller.set(caller, own.add(instance));
    }
  }

  /** What each caller has seen of an instance within the last ten seconds; only callers that have called it. */
  of(called: string, nowMillis: number): (SeenByCaller & { readonly caller: string })[] {
    const seen: (SeenByCaller & { readonly caller: string })[] = [];
    for (const [caller, { increases }] of this.#byCalled.get(called) ?? []) {
      let [requests, failures] = [0, 0];
      for (const one of increases) {
        if (nowMillis - one.atMillis > windowMillis) continue;
        requests += one.requests;
        failures += one.failures;
      }
      if (requests > 0) seen.push({ caller, requests, failures: Math.min(failures, requests) });
    }
    return seen;
  }

  /** Forgets an instance that is no more, as a caller and as one that is called. */
  forget(instance: string): void {
    for (const caller of this.#byCalled.get(instance)?.keys() ?? []) this.#drop(caller, instance);
    for (const called of this.#byCaller.get(instance) ?? []) this.#drop(instance, called);
  }

  #drop(caller: string, called: string): void {
    const callers = this.#byCalled.get(called);
    if (callers?.delete(caller) === true) this.#count -= 1;
    if (callers?.size === 0) this.#byCalled.delete(called);
    const own = this.#byCaller.get(caller);
    own?.delete(called);
    if (own?.size === 0) this.#byCaller.delete(caller);
  }
}

function increased(
  known: Pair | undefined,
  [requests, failures, atMillis]: readonly [number, number, number],
): Pair {
  // What was counted before this process heard of it may be of any age.
  if (known === undefined) return { requests, failures, increases: [] };
  // A caller that counts from the beginning again has seen all that it tells.
  const isAnew = requests < known.requests || failures < known.failures;
  const more = {
    requests: isAnew ? requests : requests - known.requests,
    failures: isAnew ? failures : failures - known.failures,
    atMillis,
  };
  if (more.requests === 0) return { requests, failures, increases: known.increases };
  const recent = known.increases.filter((one) => atMillis - one.atMillis <= windowMillis);
  return { requests, failures, increases: [...recent, more].slice(-reportsMax) };
}
