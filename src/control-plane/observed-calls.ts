import { type CalledInstance, calledMax } from "../protocol/index.ts";

/** What callers say of an instance counts for so long. */
const windowMillis = 10_000;
/** Pairs of a caller and an instance that it calls, in all and by callers on one node; of those beyond nothing is known. */
const pairsMax = 100_000;
const pairsPerNodeMax = 20_000;
/** Reports of one caller that are told apart within the window. */
const reportsMax = 24;
/** Requests that one report is believed to add. */
const requestsMax = 1_000_000_000;

/** What one caller has seen of an instance within the last ten seconds. */
export interface SeenByCaller {
  readonly requests: number;
  readonly failures: number;
}

interface Pair extends SeenByCaller {
  readonly increases: readonly (SeenByCaller & { readonly atMillis: number })[];
}

interface CallerRow {
  readonly node: string;
  readonly called: Set<string>;
}

/** What callers report of the instances that they call: counts that only grow, made into those of the last seconds. */
export class ObservedCalls {
  /** Of each caller, those that it calls; what it has not reported for longest comes first. */
  readonly #byCaller = new Map<string, CallerRow>();
  readonly #byCalled = new Map<string, Map<string, Pair>>();
  readonly #countOfNode = new Map<string, number>();
  #count = 0;

  /** Takes what a caller reports of instances that are `known`; of those only that it has reported last, so many. */
  note(
    caller: { readonly instance: string; readonly node: string },
    called: readonly CalledInstance[],
    known: { readonly has: (instance: string) => boolean },
    nowMillis: number,
  ): void {
    for (const { instance, requests, failures } of called.slice(0, calledMax)) {
      // What an instance says of itself is told elsewhere, and counts for less.
      if (instance === caller.instance || !known.has(instance)) continue;
      const pair = this.#byCalled.get(instance)?.get(caller.instance);
      if (pair === undefined && !this.#makeRoom(caller)) continue;
      this.#keep(caller, instance, increased(pair, [Number(requests), Number(failures), nowMillis]));
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
    for (const called of this.#byCaller.get(instance)?.called ?? []) this.#drop(instance, called);
  }

  /** Whether a caller may have another pair; one that has as many as it may loses its oldest for it. */
  #makeRoom({ instance, node }: { readonly instance: string; readonly node: string }): boolean {
    const own = this.#byCaller.get(instance)?.called;
    const [oldest] = own !== undefined && own.size >= calledMax ? own : [];
    if (oldest !== undefined) this.#drop(instance, oldest);
    return this.#count < pairsMax && (this.#countOfNode.get(node) ?? 0) < pairsPerNodeMax;
  }

  #keep(caller: { readonly instance: string; readonly node: string }, called: string, pair: Pair): void {
    const own = this.#byCaller.get(caller.instance) ?? { node: caller.node, called: new Set() };
    const callers = this.#byCalled.get(called) ?? new Map<string, Pair>();
    // The newest is the last.
    if (!own.called.delete(called)) this.#add(own.node, 1);
    own.called.add(called);
    callers.set(caller.instance, pair);
    this.#byCaller.set(caller.instance, own);
    this.#byCalled.set(called, callers);
  }

  #drop(caller: string, called: string): void {
    const callers = this.#byCalled.get(called);
    const own = this.#byCaller.get(caller);
    if (callers?.delete(caller) === true && own !== undefined) this.#add(own.node, -1);
    if (callers?.size === 0) this.#byCalled.delete(called);
    own?.called.delete(called);
    if (own?.called.size === 0) this.#byCaller.delete(caller);
  }

  #add(node: string, pairs: number): void {
    const count = (this.#countOfNode.get(node) ?? 0) + pairs;
    this.#count += pairs;
    if (count === 0) this.#countOfNode.delete(node);
    else this.#countOfNode.set(node, count);
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
    requests: Math.min(requestsMax, isAnew ? requests : requests - known.requests),
    failures: Math.min(requestsMax, isAnew ? failures : failures - known.failures),
    atMillis,
  };
  if (more.requests === 0) return { requests, failures, increases: known.increases };
  const recent = known.increases.filter((one) => atMillis - one.atMillis <= windowMillis);
  return { requests, failures, increases: [...recent, more].slice(-reportsMax) };
}
