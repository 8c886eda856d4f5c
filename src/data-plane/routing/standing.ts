/** What an instance is held to: `traffic.put` outliers. */
export interface OutlierPolicy {
  readonly consecutiveFailures: number;
  readonly ejectSeconds: number;
  readonly ejectSecondsMax: number;
  readonly ejectPercentMax: number;
}

/** What counts against an instance. */
export type InstanceFailure =
  | "connect-failed"
  | "reset"
  | "timeout"
  | "502"
  | "503"
  | "504"
  | "grpc-unavailable"
  | "slow";

/** Slow answers in a row for which an instance is ejected, whatever the policy says of failures. */
const slowInRowMin = 10;
/** Good answers in a row by which an instance on probation is back. */
const trialsMin = 5;
/** Slow answers in a row by which one on probation is out again; any other failure is enough by itself. */
const slowTrialsMax = 3;
/** How long a trial without an outcome holds up the next. */
const trialMillisMax = 5_000;
/** More doublings than any longest time can need. */
const doublingsMax = 20;

/** The limits of this file, for whoever wants to see them. */
export const standingLimits = { slowInRowMin, trialsMin, slowTrialsMax, trialMillisMax } as const;

/**
 * Whether one instance is sent requests: `in`, or `out` for a time that doubles with every ejection, then on
 * `probation`, when it has one request at a time until some have gone well.
 */
export class Standing {
  state: "in" | "out" | "probation" = "in";
  /** Why it was ejected last. */
  reason: InstanceFailure | undefined;
  /** When it comes on probation, while it is out. */
  untilMillis = 0;
  /** How often it was ejected; one less with every span of `ejectSeconds` in which all was well. */
  ejections = 0;
  /** Requests sent before this were sent to it in another state, and say nothing of this one. */
  #sinceMillis = Number.NEGATIVE_INFINITY;
  #failuresInRow = 0;
  #slowInRow = 0;
  #goodTrials = 0;
  #trialUntilMillis = 0;

  /** Whether a request may go there, as far as this instance's own trials go. */
  isOpen(nowMillis: number): boolean {
    return this.state !== "probation" || nowMillis >= this.#trialUntilMillis;
  }

  /** A request is about to go there. */
  picked(nowMillis: number): void {
    if (this.state === "probation") this.#trialUntilMillis = nowMillis + trialMillisMax;
  }

  /** Lets it on probation when its time has come. */
  refresh(nowMillis: number): void {
    if (this.state !== "out" || nowMillis < this.untilMillis) return;
    this.#enter("probation", nowMillis);
  }

  /** How fast a request sent at `sentMillis` was answered; true where the instance is to be ejected for that. */
  heard(isSlow: boolean, sentMillis: number, { consecutiveFailures }: OutlierPolicy): boolean {
    if (this.state === "out" || sentMillis < this.#sinceMillis) return false;
    this.#slowInRow = isSlow ? this.#slowInRow + 1 : 0;
    const most = this.state === "probation" ? slowTrialsMax : Math.max(consecutiveFailures, slowInRowMin);
    return this.#slowInRow >= most;
  }

  /** What became of a request sent at `sentMillis`; true where the instance is to be ejected for that. */
  ended(failure: InstanceFailure | undefined, sentMillis: number, policy: OutlierPolicy): boolean {
    if (this.state === "out" || sentMillis < this.#sinceMillis) return false;
    this.#trialUntilMillis = 0;
    if (failure === undefined) {
      this.#failuresInRow = 0;
      if (this.state === "probation" && this.#slowInRow === 0) this.#goodTrials += 1;
      return false;
    }
    this.#failuresInRow += 1;
    return this.state === "probation" || this.#failuresInRow >= policy.consecutiveFailures;
  }

  /** Whether it has passed its trials; it is then `in`. */
  settle(nowMillis: number): boolean {
    if (this.state !== "probation" || this.#goodTrials < trialsMin) return false;
    this.#enter("in", nowMillis);
    return true;
  }

  /** Puts it out. */
  eject(reason: InstanceFailure, nowMillis: number, policy: OutlierPolicy): void {
    const { ejectSeconds, ejectSecondsMax } = policy;
    const spansWell =
      this.state === "in" ? Math.floor((nowMillis - this.#sinceMillis) / (ejectSeconds * 1000)) : 0;
    this.ejections = Math.max(0, this.ejections - spansWell) + 1;
    const doubled = ejectSeconds * 2 ** Math.min(this.ejections - 1, doublingsMax);
    this.reason = reason;
    this.untilMillis = nowMillis + Math.min(doubled, Math.max(ejectSeconds, ejectSecondsMax)) * 1000;
    this.#enter("out", nowMillis);
  }

  /** Forgets everything, as when there is no policy any more. */
  forgive(): void {
    if (this.state === "in" && this.ejections === 0 && this.#failuresInRow === 0) return;
    this.ejections = 0;
    this.#enter("in", Number.NEGATIVE_INFINITY);
  }

  #enter(state: "in" | "out" | "probation", nowMillis: number): void {
    this.state = state;
    this.#sinceMillis = nowMillis;
    this.#failuresInRow = 0;
    this.#slowInRow = 0;
    this.#goodTrials = 0;
    this.#trialUntilMillis = 0;
  }
}
