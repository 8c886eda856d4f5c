import { foreignCoresMax } from "./foreign-load.ts";
import { histogramQuantile, mergeHistograms } from "./load.ts";
import { type Figure, figures, type Measurement } from "./measure-pair.ts";
import type { ScenarioRounds } from "./measure-scenario.ts";
import { type Estimate, estimate, median, medianUpperBound } from "./statistics.ts";

/** One figure of a pair against the same of the base, taken round by round. */
export interface Comparison {
  /** How many times as much as the base. */
  readonly ratio: Estimate;
  /** How much more than the base, in the figure's unit. */
  readonly difference: Estimate;
  /** What the true median difference does not exceed with 95 % confidence. */
  readonly differenceUpperBound: number | undefined;
}

/** What all rounds of a scenario say about one pair. */
export interface PairSummary {
  readonly name: string;
  /** Medians over the rounds. */
  readonly figures: Readonly<Partial<Record<Figure, number>>>;
  /** Against the base; empty for the base itself. */
  readonly compared: Readonly<Partial<Record<Figure, Comparison>>>;
  /** Latency of all rounds taken together, in microseconds. */
  readonly pooled?: { readonly p99Micros: number; readonly p999Micros: number; readonly requests: number };
  readonly goodRounds: number;
  /** Rounds that others disturbed beyond the bound and that count nevertheless. */
  readonly disturbedRounds: number;
  readonly errors: readonly string[];
  readonly tls?: string;
}

const errorsKept = 4;

/** Draws the rounds of a scenario together; a measurement with errors counts for nothing but its errors. */
export function summarise({ rounds }: ScenarioRounds, names: readonly string[], base: string): PairSummary[] {
  const isMeasured = (name: string): boolean => rounds.some((round) => round[name] !== undefined);
  return names.filter(isMeasured).map((name) => {
    const all = rounds.map((round) => round[name]).filter((one) => one !== undefined);
    const good = all.filter(isGood);
    const paired = rounds.flatMap((round): (readonly [Measurement, Measurement])[] => {
      const [mine, its] = [round[name], round[base]];
      return mine !== undefined && its !== undefined && isGood(mine) && isGood(its) ? [[mine, its]] : [];
    });
    const histogram = mergeHistograms(good.map((one) => one.histogram ?? []));
    const tls = good.find((one) => one.tls !== undefined)?.tls;
    return {
      name,
      figures: mediansOf(good),
      compared: name === base ? {} : compare(paired),
      ...(histogram.length === 0
        ? {}
        : {
            pooled: {
              p99Micros: histogramQuantile(histogram, 0.99) / 1000,
              p999Micros: histogramQuantile(histogram, 0.999) / 1000,
              requests: histogram.reduce((sum, [, count]) => sum + count, 0),
            },
          }),
      goodRounds: good.length,
      disturbedRounds: good.filter(({ foreignCores }) => foreignCores > foreignCoresMax).length,
      errors: all.flatMap(({ errors }) => errors).slice(0, errorsKept),
      ...(tls === undefined ? {} : { tls }),
    };
  });
}

/** What a ratio to the base and the control's ratio to it allow to say. */
export type Verdict = "higher" | "lower" | "no difference seen" | "inconclusive";

/** A difference counts if the interval leaves out 1 while that of the same thing measured twice does not. */
export function verdictOf(ratio: Estimate, control: Estimate): Verdict {
  const side = sideOf(ratio);
  const controlSide = sideOf(control);
  if (side === undefined || controlSide === undefined || controlSide !== 0) return "inconclusive";
  if (side === 0) return "no difference seen";
  return side > 0 ? "higher" : "lower";
}

/** 1 or -1 when the whole interval lies above or below 1, 0 when it holds 1, undefined without an interval. */
function sideOf({ low, high }: Estimate): -1 | 0 | 1 | undefined {
  if (low === undefined || high === undefined) return undefined;
  if (low > 1) return 1;
  return high < 1 ? -1 : 0;
}

function isGood({ errors }: Measurement): boolean {
  return errors.length === 0;
}

function mediansOf(measurements: readonly Measurement[]): Partial<Record<Figure, number>> {
  const medians: Partial<Record<Figure, number>> = {};
  for (const figure of figuresOf(measurements[0]))
    medians[figure] = median(measurements.map(({ figures }) => figures[figure] ?? Number.NaN));
  return medians;
}

function compare(
  paired: readonly (readonly [Measurement, Measurement])[],
): Partial<Record<Figure, Comparison>> {
  const compared: Partial<Record<Figure, Comparison>> = {};
  for (const figure of figuresOf(paired[0]?.[0])) {
    const values = paired.flatMap(([mine, its]): (readonly [number, number])[] => {
      const [left, right] = [mine.figures[figure], its.figures[figure]];
      return left === undefined || right === undefined ? [] : [[left, right]];
    });
    if (values.length === 0) continue;
    const differences = values.map(([left, right]) => left - right);
    compared[figure] = {
      ratio: estimate(values.map(([left, right]) => left / right)),
      difference: estimate(differences),
      differenceUpperBound: medianUpperBound(differences),
    };
  }
  return compared;
}

function figuresOf(measurement: Measurement | undefined): Figure[] {
  return figures.filter((figure) => measurement?.figures[figure] !== undefined);
}
