import { describe, expect, it } from "vitest";
import type { PairSummary } from "../measure/summarise.ts";
import { scenarios } from "../scenarios.ts";
import { alignedTable } from "./aligned-table.ts";
import { ratioPlot, tickValues } from "./ratio-plot.ts";
import { scenarioTable } from "./scenario-table.ts";
import { parseProfile, selfTimes } from "./self-times.ts";

const reference = { base: "nginx", control: "nginx again" };
const rows: readonly PairSummary[] = [
  {
    name: "nginx",
    figures: { requestsPerSecond: 1_000 },
    compared: {},
    goodRounds: 6,
    disturbedRounds: 0,
    errors: [],
  },
  {
    name: "troth <1>",
    figures: { requestsPerSecond: 2_000 },
    compared: {
      requestsPerSecond: {
        ratio: { median: 2, low: 1.5, high: 2.5 },
        difference: { median: 1_000, low: 500, high: 1_500 },
        differenceUpperBound: 1_400,
      },
    },
    goodRounds: 5,
    disturbedRounds: 2,
    errors: ["answer: HTTP/1.1 503"],
  },
];

function scenarioNamed(name: string): (typeof scenarios)[number] {
  const found = scenarios.find((scenario) => scenario.name === name);
  if (found === undefined) throw new Error(`no scenario ${name}`);
  return found;
}

it("aligns the first column to the left and the others to the right", () => {
  expect(
    alignedTable(
      ["", "rate"],
      [
        ["nginx", "5"],
        ["a", "12345"],
      ],
    ),
  ).toBe("         rate\nnginx       5\na       12345\n");
});

describe("scenarioTable", () => {
  it("prints ratio, interval, disturbed rounds and errors", () => {
    const table = scenarioTable(scenarioNamed("saturation-64"), rows, reference, false);

    expect(table).toContain("2.00 [1.50–2.50]");
    expect(table).toContain("5, 2 disturbed");
    expect(table).toContain("troth <1>: failed: answer: HTTP/1.1 503");
  });

  it.each(scenarios)("has a table for $name", (scenario) => {
    expect(scenarioTable(scenario, rows, reference, true)).toContain(scenario.title);
  });
});

describe("ratioPlot", () => {
  const plot = ratioPlot([{ scenario: scenarioNamed("saturation-64"), rows, base: "nginx" }], {
    base: "nginx",
    captions: ["a & b"],
  });

  it("draws a bar and an interval for each pair but the base", () => {
    expect(plot.match(/class="interval"/g)).toHaveLength(1);
    expect(plot).toContain(">2.00</text>");
  });

  it("ends an interval that would dwarf the bars in an arrow", () => {
    const [base, troth] = rows;
    const wide = { median: 2, low: 1.5, high: 500 };
    const difference = { median: 0, low: 0, high: 0 };
    const compared = { requestsPerSecond: { ratio: wide, difference, differenceUpperBound: 0 } };
    if (base === undefined || troth === undefined) throw new Error("there are two rows");

    const wideRows = [base, { ...troth, compared }];
    const drawn = ratioPlot([{ scenario: scenarioNamed("get-16k"), rows: wideRows, base: "nginx" }], {
      base: "nginx",
      captions: [],
    });

    expect(drawn).toContain("l6 4l-6 4");
    expect(
      Math.max(...[...drawn.matchAll(/ width="([0-9.]+)"/g)].map(([, width]) => Number(width))),
    ).toBeLessThan(800);
  });

  it("names the base of a scenario that has another", () => {
    const drawn = ratioPlot([{ scenario: scenarioNamed("grpc-64"), rows, base: "envoy grpc" }], {
      base: "nginx",
      captions: [],
    });

    expect(drawn).toContain("× envoy grpc</text>");
  });

  it("escapes what it is given", () => {
    expect(plot).toContain("a &amp; b");
    expect(plot).toContain("troth &lt;1></text>");
  });

  it.each([1.5, 2.4, 3, 12, 130, 2_000])("has few ticks up to %d, with 1 among them", (right) => {
    const ticks = tickValues(right);

    expect(ticks).toContain(1);
    expect(ticks.length).toBeLessThanOrEqual(22);
    expect(Math.max(...ticks)).toBeLessThanOrEqual(right);
  });
});

it("sums self times of samples within the window, with file and line", () => {
  const profile = parseProfile(
    JSON.stringify({
      nodes: [
        { id: 1, callFrame: { functionName: "decide", url: "file:///x/src/a.ts", lineNumber: 9 } },
        { id: 2, callFrame: { functionName: "", url: "", lineNumber: -1 } },
      ],
      startTime: 1_000,
      samples: [1, 1, 2, 1, 2],
      timeDeltas: [0, 10, 20, 30, 40],
    }),
  );

  // Taken at 1000, 1010, 1030, 1060 and 1100; the first and the last two lie outside.
  expect(selfTimes(profile, [1_005, 1_050])).toEqual([
    { name: "(anonymous)", place: "", micros: 30 },
    { name: "decide", place: "src/a.ts:10", micros: 20 },
  ]);
});
