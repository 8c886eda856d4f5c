import type { PairSummary } from "../measure/summarise.ts";
import type { Scenario } from "../scenarios.ts";

/** A scenario with what came of it. */
export interface PlottedScenario {
  readonly scenario: Scenario;
  readonly rows: readonly PairSummary[];
  /** The pair that the others are compared with. */
  readonly base: string;
}

const labelWidth = 150;
const plotWidth = 520;
const valueWidth = 120;
const barHeight = 14;
const barGap = 4;
const groupGap = 30;
const top = 80;
/** How far the axis may go beyond the longest bar; an interval that goes farther ends in an arrow. */
const axisReach = 1.5;
const peerColour = "#8fa3b8";
const trothColour = "#d9822b";
const controlColour = "#d0d7de";

/** An SVG of bars: throughput of each pair as a multiple of the base, with its 95 % interval; a line at 1. */
export function ratioPlot(
  scenarios: readonly PlottedScenario[],
  { base, captions }: { readonly base: string; readonly captions: readonly string[] },
): string {
  const groups = scenarios
    .map(({ scenario, rows, base: own }) => ({
      title: own === base ? scenario.title : `${scenario.title}, × ${own}`,
      bars: rows.flatMap(({ name, compared }) => {
        const ratio = compared.requestsPerSecond?.ratio;
        return scenario.kind !== "saturation" || name === "direct" || ratio === undefined
          ? []
          : [{ name, ratio }];
      }),
    }))
    .filter(({ bars }) => bars.length > 0);
  const ratios = groups.flatMap(({ bars }) => bars.map(({ ratio }) => ratio));
  const longest = Math.max(1, ...ratios.map(({ median }) => median)) * axisReach;
  const right = Math.min(longest, Math.max(1.5, ...ratios.map(({ median, high = median }) => high)));
  const x = (value: number): number => Math.round((labelWidth + (value / right) * plotWidth) * 10) / 10;
  const parts: string[] = [];
  let y = top;
  for (const { title, bars } of groups) {
    parts.push(text(labelWidth, y, title, 'class="title"'));
    y += 8;
    for (const { name, ratio } of bars) {
      const { median, low = median, high = median } = ratio;
      const middle = y + barHeight / 2;
      const end = high > right ? `M${x(right) - 6} ${middle - 4}l6 4l-6 4` : `M${x(high)} ${middle - 4}v8`;
      parts.push(
        text(labelWidth - 8, y + barHeight - 3, name, 'text-anchor="end"'),
        `<rect x="${labelWidth}" y="${y}" width="${x(median) - labelWidth}" height="${barHeight}" fill="${colourOf(name)}"/>`,
        `<path d="M${x(low)} ${middle}H${x(Math.min(high, right))}M${x(low)} ${middle - 4}v8${end}" class="interval"/>`,
        text(x(Math.min(high, right)) + 8, y + barHeight - 3, median.toFixed(2)),
      );
      y += barHeight + barGap;
    }
    y += groupGap;
  }
  const bottom = y - groupGap + 4;
  const ticks = tickValues(right).map((value) => {
    const style = value === 1 ? "one" : "grid";
    return `<path d="M${x(value)} ${top - 12}V${bottom}" class="${style}"/>${text(x(value), bottom + 14, String(value), 'text-anchor="middle"')}`;
  });
  const width = labelWidth + plotWidth + valueWidth;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${bottom + 30}" width="${width}" height="${bottom + 30}" role="img">
<style>text{font:12px sans-serif;fill:#24292f}.title{font-weight:bold;paint-order:stroke;stroke:#fff;stroke-width:5}.head{font-size:15px;font-weight:bold}.grid{stroke:#d8dee4}.one{stroke:#24292f;stroke-dasharray:4 3}.interval{stroke:#24292f;stroke-width:1.5;fill:none}</style>
<rect width="100%" height="100%" fill="#fff"/>
${text(16, 22, `Requests per second, as a multiple of ${base} in the same round`, 'class="head"')}
${captions.map((caption, line) => text(16, 40 + 15 * line, caption)).join("\n")}
${[...ticks, ...parts].join("\n")}
</svg>
`;
}

function colourOf(name: string): string {
  if (name.endsWith(" again")) return controlColour;
  return name === "troth" || name === "here" ? trothColour : peerColour;
}

/** Round values from 0 to `right`, at most ten of them, 1 always among them. */
export function tickValues(right: number): number[] {
  const step = [0.25, 0.5, 1, 2, 5, 10, 20, 50].find((candidate) => right / candidate <= 9) ?? 100;
  const ticks = Array.from({ length: Math.floor(right / step) + 1 }, (_, index) => index * step);
  return ticks.includes(1) ? ticks : [...ticks, 1].sort((left, right) => left - right);
}

function text(x: number, y: number, content: string, attributes = ""): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
  return `<text x="${x}" y="${y}"${attributes === "" ? "" : ` ${attributes}`}>${escaped}</text>`;
}
