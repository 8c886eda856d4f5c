import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Machine } from "../machine.ts";
import type { Measurement } from "../measure/measure-pair.ts";
import type { ScenarioRounds } from "../measure/measure-scenario.ts";
import type { PairSummary } from "../measure/summarise.ts";
import type { Scenario } from "../scenarios.ts";

/** What a run was. */
export interface RunFacts {
  /** ISO 8601. */
  readonly takenAt: string;
  readonly effort: string;
  readonly machine: Machine;
  readonly commit: string;
  readonly application: string;
  /** Which cores what was pinned to. */
  readonly pinning: string;
  readonly base: string;
  readonly control: string;
  readonly pairs: readonly { readonly name: string; readonly version: string; readonly about: string }[];
  readonly skipped: readonly { readonly name: string; readonly howToGet: string }[];
  /** Cores that others used before the first round. */
  readonly foreignCoresBefore: number;
}

/** A scenario, its rounds and what they say. */
export interface ScenarioResult {
  readonly scenario: Scenario;
  readonly rounds: ScenarioRounds["rounds"];
  readonly rows: readonly PairSummary[];
  /** The pair that the others are compared with. */
  readonly base: string;
}

/** Writes everything that was measured as JSON and the plot beside it; the path of both without an ending. */
export function writeResults(facts: RunFacts, results: readonly ScenarioResult[], plot: string): string {
  const folder = join(import.meta.dirname, "..", "results");
  mkdirSync(folder, { recursive: true });
  const base = join(folder, `${facts.takenAt.slice(0, 19).replaceAll(":", "")}-${facts.machine.name}`);
  writeFileSync(`${base}.json`, resultsJson(facts, results));
  writeFileSync(`${base}.svg`, plot);
  return base;
}

/** The same as text. Histograms are left out: what is read from them stands in the rows. */
export function resultsJson(facts: RunFacts, results: readonly ScenarioResult[]): string {
  const scenarios = results.map(({ scenario, rounds, rows, base }) => ({
    name: scenario.name,
    title: scenario.title,
    kind: scenario.kind,
    base,
    summary: rows,
    rounds: rounds.map((round) =>
      Object.fromEntries(
        Object.entries(round).map(([name, measurement]) => [name, withoutHistogram(measurement)]),
      ),
    ),
  }));
  const rounded = (_key: string, value: unknown): unknown =>
    typeof value === "number" ? Number(value.toPrecision(6)) : value;
  return `${JSON.stringify({ apiVersion: "troth.bench/v1", kind: "BenchResults", ...facts, scenarios }, rounded, 1)}\n`;
}

function withoutHistogram(measurement: Measurement): Omit<Measurement, "histogram"> {
  const { figures, foreignCores, errors, tls } = measurement;
  return { figures, foreignCores, errors, ...(tls === undefined ? {} : { tls }) };
}
