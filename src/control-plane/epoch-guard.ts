import type { Clock } from "../base/clock.ts";
import { fail, ok, type Result } from "../base/result.ts";

/** How far the clock may be behind the last epoch before none is issued. */
const behindSecondsMax = 60;
/** Ahead of the last epoch by more than this at a start, agents are asked first: it may have been a long weekend. */
const aheadSecondsMax = 3_600;
/** How long agents have for an answer; where none comes, nobody disagrees. */
const askMillisMax = 15_000;
/** How far an agent's clock may be from the control plane's. */
const disagreeSecondsMax = 300;

/** Why no epoch is issued now. */
export type EpochRefusal = "clock-behind" | "clock-unconfirmed" | "clock-disagrees";

/**
 * Whether the wall clock may go into the log. What expires by an epoch's time is gone for good, so at a start the clock
 * is held against the last epoch and against the clocks of the agents that have reported. On one machine they are the
 * same clock: a wrong one that is ahead cannot be told there.
 */
export class EpochGuard {
  readonly #clock: Clock;
  readonly #startedMillis: number;
  /** By how many seconds the clock of each connected agent is ahead of this machine's. */
  readonly #agentsAheadSeconds: () => readonly number[];
  #hasPassed = false;

  constructor(clock: Clock, agentsAheadSeconds: () => readonly number[] = () => []) {
    this.#clock = clock;
    this.#startedMillis = clock.monotonicMillis();
    this.#agentsAheadSeconds = agentsAheadSeconds;
  }

  /** Judges the clock against the time of the last epoch, 0 before the first. */
  judge(lastEpochSeconds: number): Result<undefined, EpochRefusal> {
    const now = this.#clock.nowSeconds();
    const shown = `this machine's clock shows ${iso(now)}`;
    if (lastEpochSeconds - now > behindSecondsMax)
      return fail(
        "clock-behind",
        `${shown}, the trust log's last epoch is of ${iso(lastEpochSeconds)}: set the clock right`,
      );
    const agents = this.#agentsAheadSeconds();
    // Once running, this machine has a vote too, so that one lying agent cannot keep epochs from everybody.
    const ahead = median(this.#hasPassed ? [...agents, 0] : agents);
    if (ahead !== undefined && Math.abs(ahead) > disagreeSecondsMax)
      return fail(
        "clock-disagrees",
        `${shown}, the clocks of ${agents.length} node(s) ${iso(now + ahead)} in the median: set the wrong one right`,
      );
    if (this.#hasPassed) return ok(undefined);
    const isFarAhead = lastEpochSeconds > 0 && now - lastEpochSeconds > aheadSecondsMax;
    const isWaiting = this.#clock.monotonicMillis() - this.#startedMillis < askMillisMax;
    if (isFarAhead && ahead === undefined && isWaiting)
      return fail(
        "clock-unconfirmed",
        `${shown}, long after the last epoch of ${iso(lastEpochSeconds)}; waiting for an agent's clock`,
      );
    this.#hasPassed = true;
    return ok(undefined);
  }
}

/** Of two in the middle the one nearer to nought: half of the votes is no majority. */
function median(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((left, right) => left - right);
  const [lower, upper] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  if (lower === undefined || upper === undefined) return undefined;
  return Math.abs(lower) < Math.abs(upper) ? lower : upper;
}

/** Seconds since 1970 as people read them. */
function iso(seconds: number): string {
  const whole = Math.trunc(seconds);
  // Beyond what a date can hold, as a broken clock may be.
  return Math.abs(whole) < 8.64e12 ? new Date(whole * 1000).toISOString() : `${whole} s after 1970`;
}
