import type { Clock } from "../base/clock.ts";

/** The times of this many of the log's last checkpoints are kept. */
const logTimesMax = 4_096;
/** A follower reports at most some 50 times a second, and each epoch, which comes every 10 s. */
const followerTimesMax = 32;

/** When a size was first covered. */
interface Reached {
  readonly size: number;
  readonly atMillis: number;
}

/** How far a follower is with a size that somebody asks for. */
export interface FollowerReached {
  readonly instance: string;
  /** From the moment the log had the size to the report; 0 where either was before anybody looked. */
  readonly millis: number;
}

/** When the log, and each follower by its own report, first had a size; for the latest sizes, in memory only. */
export class FollowerProgress {
  readonly #clock: Clock;
  readonly #log: Reached[] = [];
  readonly #followers = new Map<string, Reached[]>();
  readonly #converged: (seconds: number) => void;

  /** `converged` gets, for every follower that has got further, how long it had waited for the oldest change. */
  constructor(clock: Clock, converged: (seconds: number) => void = () => {}) {
    this.#clock = clock;
    this.#converged = converged;
  }

  /** The log has this size from now on. */
  noteLog(size: number): void {
    note(this.#log, { size, atMillis: this.#clock.monotonicMillis() }, logTimesMax);
  }

  /** A follower has reported that it has this size. */
  noteFollower(instance: string, size: number): void {
    const times = this.#followers.get(instance) ?? [];
    this.#followers.set(instance, times);
    const before = times.at(-1)?.size ?? size;
    const since = size > before ? firstCovering(this.#log, before + 1) : undefined;
    if (since !== undefined) this.#converged(Math.max(0, this.#clock.monotonicMillis() - since) / 1000);
    note(times, { size, atMillis: this.#clock.monotonicMillis() }, followerTimesMax);
  }

  /** Forgets a follower that has ended. */
  forget(instance: string): void {
    this.#followers.delete(instance);
  }

  /** The followers that have reached a size. */
  reached(size: number): FollowerReached[] {
    const since = firstCovering(this.#log, size);
    const reached: FollowerReached[] = [];
    for (const [instance, times] of this.#followers) {
      if ((times.at(-1)?.size ?? 0) < size) continue;
      const at = firstCovering(times, size);
      const millis = since === undefined || at === undefined ? 0 : Math.max(0, at - since);
      reached.push({ instance, millis });
    }
    return reached;
  }
}

function note(times: Reached[], next: Reached, countMax: number): void {
  if (next.size <= (times.at(-1)?.size ?? -1)) return;
  times.push(next);
  if (times.length > countMax) times.shift();
}

/** The time of the first record that covers the size; of the very first record nobody knows since when it was so. */
function firstCovering(times: readonly Reached[], size: number): number | undefined {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((times[middle]?.size ?? 0) < size) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? undefined : times[low]?.atMillis;
}
