import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { median } from "../../bench/measure/statistics.ts";
import { runCommand } from "./running-command.ts";
import { repository } from "./running-mesh.ts";

/** A scenario of the bench takes at most so long, with every measurement repeated as often as it may be. */
export const benchSecondsMax = 1_500;

const roundSchema = z.record(
  z.string(),
  z.looseObject({ figures: z.record(z.string(), z.number()), errors: z.array(z.string()) }),
);
const resultsSchema = z.looseObject({
  machine: z.looseObject({}),
  skipped: z.array(z.looseObject({ name: z.string(), howToGet: z.string() })),
  scenarios: z.array(
    z.looseObject({
      name: z.string(),
      rounds: z.array(roundSchema),
      summary: z.array(z.looseObject({ name: z.string(), disturbedRounds: z.number() })),
    }),
  ),
});

/** The rounds of one scenario, each of which measured every pair once. */
export class BenchRounds {
  readonly scenario: string;
  readonly #rounds: readonly z.infer<typeof roundSchema>[];
  /** Pairs that this machine has not, with how to get them. */
  readonly #skipped: ReadonlyMap<string, string>;
  /** Rounds in which others used the machine. */
  readonly #disturbed: ReadonlyMap<string, number>;

  constructor(results: z.infer<typeof resultsSchema>, scenario: string) {
    const found = results.scenarios.find(({ name }) => name === scenario);
    if (found === undefined) throw new Error(`the bench measured no ${scenario}`);
    this.scenario = scenario;
    this.#rounds = found.rounds;
    this.#skipped = new Map(results.skipped.map(({ name, howToGet }) => [name, howToGet]));
    this.#disturbed = new Map(found.summary.map(({ name, disturbedRounds }) => [name, disturbedRounds]));
  }

  /** How to get a pair that is not here; undefined where it was measured. */
  missing(pair: string): string | undefined {
    return this.#skipped.get(pair);
  }

  /** The median over the rounds of Troth's figure over a pair's. */
  ratio(figure: string, pair: string): number {
    return median(this.#together(figure, pair).map(([ours, its]) => ours / its));
  }

  /** The median over the rounds of Troth's figure less a pair's. */
  difference(figure: string, pair: string): number {
    return median(this.#together(figure, pair).map(([ours, its]) => ours - its));
  }

  /** The median over the rounds of Troth's figure less the mean of a pair's and its control's. */
  differenceFromBoth(figure: string, pair: string, control: string): number {
    const controls = this.#together(figure, control);
    const among = this.#together(figure, pair).map(
      ([ours, its], round) => ours - (its + (controls[round]?.[1] ?? its)) / 2,
    );
    return median(among);
  }

  /** Troth's own figure, the median over the rounds. */
  own(figure: string): number {
    return median(this.#rounds.flatMap((round) => round["troth"]?.figures[figure] ?? []));
  }

  /** What a reader has to know of the machine meanwhile. */
  get remark(): string {
    const disturbed = this.#disturbed.get("troth") ?? 0;
    return disturbed === 0
      ? ""
      : ` (${disturbed} of ${this.#rounds.length} rounds disturbed by other processes)`;
  }

  #together(figure: string, pair: string): (readonly [number, number])[] {
    return this.#rounds.flatMap((round) => {
      const ours = round["troth"]?.figures[figure];
      const its = round[pair]?.figures[figure];
      return ours === undefined || its === undefined ? [] : [[ours, its] as const];
    });
  }
}

/** Runs the scenarios with a name like this beside the peers, in short rounds unless told otherwise. */
export async function measure(
  only: string,
  isFull: boolean,
  ...more: readonly string[]
): Promise<(scenario: string) => BenchRounds> {
  const effort = isFull ? [] : ["--quick"];
  const args = [join(repository, "bench", "bench.ts"), ...effort, "--only", only, ...more];
  const ended = await runCommand(process.execPath, args, { timeoutMillis: benchSecondsMax * 1000 });
  const written = /^written: (\S+\.json)/m.exec(ended.stdout)?.[1];
  if (written === undefined) throw new Error(`the bench ended with ${ended.code}: ${ended.stderr.trim()}`);
  const results = resultsSchema.parse(JSON.parse(readFileSync(written, "utf8")));
  return (scenario) => new BenchRounds(results, scenario);
}
