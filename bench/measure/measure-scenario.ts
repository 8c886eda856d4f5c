import { messageOf } from "../../src/base/mesh-error.ts";
import type { Pair } from "../peers/pair.ts";
import { type Effort, roundsOf, type Scenario } from "../scenarios.ts";
import { foreignCoresMax, foreignCoresNow } from "./foreign-load.ts";
import { type Instruments, isApplicable, type Measurement, measurePair } from "./measure-pair.ts";

/** How often a measurement is tried before the least disturbed one is taken. */
export const attemptsMax = 4;

const idleLookMillis = 250;
const idleLooksMax = 8;

/** A pair under the name that it has in the report. */
export interface NamedPair {
  readonly name: string;
  readonly pair: Pair;
  /** Starts another pair of the same kind. */
  readonly openFresh: () => Promise<Pair>;
}

/** All rounds of a scenario; round i of each pair was measured right before and after round i of the others. */
export interface ScenarioRounds {
  readonly scenario: Scenario;
  readonly rounds: readonly Readonly<Record<string, Measurement>>[];
}

/** Measures all pairs in turn, A B C A B C; a disturbed measurement is repeated while time is left. */
export async function measureScenario(
  scenario: Scenario,
  pairs: readonly NamedPair[],
  effort: Effort,
  instruments: Instruments & { readonly tell: (text: string) => void; readonly stopped: AbortSignal },
): Promise<ScenarioRounds> {
  const measured = pairs.filter(({ pair }) => isApplicable(scenario, pair));
  const rounds: Record<string, Measurement>[] = [];
  const count = roundsOf(scenario, effort);
  // Repetitions may take as long again as the rounds themselves, so that a busy machine does not keep this for ever.
  const budget = new RepetitionBudget(instruments.stopped);
  for (const { name, pair } of scenario.kind === "memory" ? [] : measured) {
    instruments.stopped.throwIfAborted();
    instruments.tell(`${scenario.name}: warming up ${name}`);
    // Opens the connections between the proxies and lets their code be compiled; says nothing.
    await attempted(() => measurePair(scenario, pair, effort, instruments));
  }
  for (let round = 0; round < count; round += 1) {
    const row: Record<string, Measurement> = {};
    for (const named of measured) {
      instruments.stopped.throwIfAborted();
      instruments.tell(`${scenario.name}: round ${round + 1} of ${count}, ${named.name}`);
      row[named.name] = await leastDisturbed(() => measureOnce(scenario, named, effort, instruments), budget);
    }
    rounds.push(row);
  }
  return { scenario, rounds };
}

async function measureOnce(
  scenario: Scenario,
  { pair, openFresh }: NamedPair,
  effort: Effort,
  instruments: Instruments,
): Promise<Measurement> {
  if (scenario.kind !== "memory") return measurePair(scenario, pair, effort, instruments);
  // What a proxy took for earlier scenarios it keeps, and would hide what connections take now.
  await using fresh = await openFresh();
  return await measurePair(scenario, fresh, effort, instruments);
}

/** Repeats a measurement that others disturbed or that failed; the undisturbed or least disturbed one counts. */
export async function leastDisturbed(
  measure: () => Promise<Measurement>,
  budget: RepetitionBudget,
  waitForIdle: () => Promise<void> = untilIdle,
): Promise<Measurement> {
  let best: Measurement | undefined;
  for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
    const startMillis = performance.now();
    if (attempt > 1) await waitForIdle();
    const measurement = await attempted(measure);
    if (best === undefined || isBetter(measurement, best)) best = measurement;
    const millis = performance.now() - startMillis;
    if (attempt === 1) budget.earn(millis);
    else budget.spend(millis);
    const isGood = best.errors.length === 0 && best.foreignCores <= foreignCoresMax;
    if (isGood || !budget.isLeft) break;
  }
  if (best === undefined) throw new Error("unreachable");
  return best;
}

/** Time for repetitions: as much as the first attempts have taken so far. */
export class RepetitionBudget {
  readonly #stopped: AbortSignal;
  #leftMillis = 0;

  constructor(stopped: AbortSignal) {
    this.#stopped = stopped;
  }

  /** Whether a repetition may begin. */
  get isLeft(): boolean {
    return this.#leftMillis > 0 && !this.#stopped.aborted;
  }

  /** Counts a first attempt. */
  earn(millis: number): void {
    this.#leftMillis += millis;
  }

  /** Counts a repetition. */
  spend(millis: number): void {
    this.#leftMillis -= millis;
  }
}

async function attempted(measure: () => Promise<Measurement>): Promise<Measurement> {
  try {
    return await measure();
  } catch (error) {
    return { figures: {}, foreignCores: 0, errors: [messageOf(error)] };
  }
}

function isBetter(measurement: Measurement, than: Measurement): boolean {
  const failed = measurement.errors.length > 0;
  if (failed !== than.errors.length > 0) return !failed;
  return measurement.foreignCores < than.foreignCores;
}

async function untilIdle(): Promise<void> {
  for (let look = 0; look < idleLooksMax; look += 1)
    if ((await foreignCoresNow(idleLookMillis)) <= foreignCoresMax) return;
}
