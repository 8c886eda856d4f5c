import { setTimeout as sleep } from "node:timers/promises";

/** Waits for a promise, for so long at most; says whether it resolved in time. Throws what it is rejected with in time. */
export async function resolvesWithin(promise: Promise<unknown>, waitMillisMax: number): Promise<boolean> {
  const waiting = new AbortController();
  const { signal } = waiting;
  return Promise.race([
    promise.then(() => true),
    sleep(waitMillisMax, false, { signal }).catch(() => false),
  ]).finally(() => waiting.abort());
}
