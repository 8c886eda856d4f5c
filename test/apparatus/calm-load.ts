import { setTimeout as sleep } from "node:timers/promises";
import type { AskedOnce } from "./open-loop-load.ts";

const windowMillis = 2_000;
const slowMillis = 500;
const calmMillisMax = 60_000;
const pollMillis = 100;

/**
 * Whether a machine carries a load at all, before anything is done to it: what then goes wrong is not for want of
 * processor time.
 */
export class CalmLoad {
  #disturbedMillis = performance.now();
  #heardMillis = 0;

  /** Takes note of a request that has ended. */
  note({ status, sentMillis, endedMillis }: AskedOnce): void {
    this.#heardMillis = endedMillis;
    if (status !== 200 || endedMillis - sentMillis > slowMillis) this.#disturbedMillis = endedMillis;
  }

  /** Waits until every request of the last two seconds was answered within half a second; throws where that does not come about. */
  async untilCalm(): Promise<void> {
    const deadline = performance.now() + calmMillisMax;
    for (;;) {
      const now = performance.now();
      if (now - this.#disturbedMillis > windowMillis && now - this.#heardMillis < slowMillis) return;
      if (now > deadline)
        throw new Error("inconclusive: this machine does not carry the load, even undisturbed");
      await sleep(pollMillis);
    }
  }
}
