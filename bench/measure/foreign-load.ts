import { setTimeout as sleep } from "node:timers/promises";
import { machineBusySeconds, ownProcesses, processorNanos } from "./processor-time.ts";

/** Cores that others may use before a measurement counts as disturbed. */
export const foreignCoresMax = 0.2;

/** Measures how many cores were used by processes that are not ours. */
export class ForeignLoad {
  #own: readonly number[] = ownProcesses();
  readonly #startMillis = performance.now();
  readonly #busySeconds = machineBusySeconds();
  readonly #ownNanos = processorNanos(this.#own);

  /** Cores used by others since this object was made; `endedSeconds` is what our own children used that have ended. */
  cores(endedSeconds = 0): number {
    const seconds = (performance.now() - this.#startMillis) / 1000;
    const own = (processorNanos(this.#own) - this.#ownNanos) / 1e9 + endedSeconds;
    return Math.max(0, machineBusySeconds() - this.#busySeconds - own) / seconds;
  }
}

/** Cores that others use now, looked at for so long. */
export async function foreignCoresNow(millis: number): Promise<number> {
  const load = new ForeignLoad();
  await sleep(millis);
  return load.cores();
}
