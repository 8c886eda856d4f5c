import type { Figure } from "../measure/measure-pair.ts";
import type { Estimate } from "../measure/statistics.ts";
import { type PairSummary, verdictOf } from "../measure/summarise.ts";
import type { Scenario } from "../scenarios.ts";
import { alignedTable } from "./aligned-table.ts";

interface Column {
  readonly heading: string;
  readonly cell: (row: PairSummary) => string;
}

/** The pair that others are compared with, and the same thing a second time. */
export interface Reference {
  readonly base: string;
  readonly control: string;
}

/** A scenario's result for people. */
export function scenarioTable(
  scenario: Scenario,
  rows: readonly PairSummary[],
  reference: Reference,
  isComparison: boolean,
): string {
  const columns: Column[] = [
    { heading: "", cell: ({ name }) => name },
    ...columnsOf(scenario, reference.base),
    ...(isComparison ? [verdictColumn(scenario, rows, reference)] : []),
    { heading: "rounds", cell: roundsCell },
  ];
  const table = alignedTable(
    columns.map(({ heading }) => heading),
    rows.map((row) => columns.map(({ cell }) => cell(row))),
  );
  const errors = rows.flatMap(({ name, errors }) => errors.map((error) => `${name}: failed: ${error}\n`));
  return `\n${scenario.name}: ${scenario.title}\n${table}${errors.join("")}`;
}

/** The figure by which the pairs of a scenario are ranked. */
export function leadingFigure({ kind }: Scenario): Figure {
  switch (kind) {
    case "latency":
      return "p90Micros";
    case "handshakes":
      return "handshakeCpuMicros";
    case "memory":
      return "outboundPssMib";
    case "saturation":
      return "requestsPerSecond";
  }
}

function columnsOf({ kind }: Scenario, base: string): Column[] {
  switch (kind) {
    case "saturation":
      return [
        figureColumn("requests/s", "requestsPerSecond"),
        ratioColumn(`× ${base} [95 %]`, "requestsPerSecond"),
        figureColumn("CPU µs", "pairCpuMicros"),
        figureColumn("out", "outboundCpuMicros"),
        figureColumn("in", "inboundCpuMicros"),
        ratioColumn("CPU × [95 %]", "pairCpuMicros"),
        figureColumn("p50 µs", "p50Micros"),
        figureColumn("p99 µs", "p99Micros"),
      ];
    case "latency":
      return [
        figureColumn("p50 µs", "p50Micros"),
        figureColumn("p90 µs", "p90Micros"),
        figureColumn("p99 µs", "p99Micros"),
        { heading: "p99.9 pooled", cell: ({ pooled }) => number(pooled?.p999Micros) },
        differenceColumn(`p50 − ${base} (≤)`, "p50Micros"),
        differenceColumn(`p90 − ${base} (≤)`, "p90Micros"),
        differenceColumn(`p99 − ${base} (≤)`, "p99Micros"),
        figureColumn("CPU µs", "pairCpuMicros"),
      ];
    case "handshakes":
      return [
        figureColumn("CPU µs inbound", "handshakeCpuMicros"),
        ratioColumn(`× ${base} [95 %]`, "handshakeCpuMicros"),
        figureColumn("connections/s of one core", "handshakesPerSecond"),
        { heading: "group, cipher", cell: ({ tls = "" }) => tls },
      ];
    case "memory":
      return [
        figureColumn("RSS out MiB", "outboundRssMib"),
        figureColumn("RSS in MiB", "inboundRssMib"),
        figureColumn("PSS out MiB", "outboundPssMib"),
        figureColumn("PSS in MiB", "inboundPssMib"),
        figureColumn("KiB an idle connection", "idleConnectionKib"),
      ];
  }
}

function figureColumn(heading: string, figure: Figure): Column {
  return { heading, cell: ({ figures }) => number(figures[figure]) };
}

function ratioColumn(heading: string, figure: Figure): Column {
  return { heading, cell: ({ compared }) => ratioText(compared[figure]?.ratio) };
}

function differenceColumn(heading: string, figure: Figure): Column {
  return {
    heading,
    cell: ({ compared }) => {
      const found = compared[figure];
      return found === undefined
        ? ""
        : `${signed(found.difference.median)} (${signed(found.differenceUpperBound ?? Number.NaN)})`;
    },
  };
}

function verdictColumn(
  scenario: Scenario,
  rows: readonly PairSummary[],
  { base, control }: Reference,
): Column {
  const figure = leadingFigure(scenario);
  const controlRatio = rows.find(({ name }) => name === control)?.compared[figure]?.ratio;
  return {
    heading: `${figure}?`,
    cell: ({ name, compared }) => {
      const ratio = compared[figure]?.ratio;
      if (name === base || name === control || ratio === undefined || controlRatio === undefined) return "";
      return verdictOf(ratio, controlRatio);
    },
  };
}

function roundsCell({ goodRounds, disturbedRounds }: PairSummary): string {
  return disturbedRounds === 0 ? String(goodRounds) : `${goodRounds}, ${disturbedRounds} disturbed`;
}

function ratioText(ratio: Estimate | undefined): string {
  if (ratio === undefined) return "";
  const { median, low = Number.NaN, high = Number.NaN } = ratio;
  return `${median.toFixed(2)} [${low.toFixed(2)}–${high.toFixed(2)}]`.replace("[NaN–NaN]", "[–]");
}

function number(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "";
  return value.toFixed(Math.abs(value) < 100 ? 1 : 0);
}

function signed(value: number): string {
  if (Number.isNaN(value)) return "–";
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(0)}`;
}
