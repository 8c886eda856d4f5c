import { describe, expect, it } from "vitest";
import { histogramQuantile, loadArguments, mergeHistograms, parseLoadResult } from "./load.ts";

const answer = {
  requests: 3,
  completed: 4,
  seconds: 1,
  errors: 0,
  unanswered: 0,
  bytesRead: 4_444,
  cpuSeconds: 0.25,
  latencyNanos: { mean: 20, p50: 20, p90: 30, p99: 30, p999: 30, max: 30 },
  errorTexts: [],
  histogram: [
    [10, 1],
    [20, 1],
    [30, 1],
  ],
};

describe("parseLoadResult", () => {
  it("reads what the load generator prints", () => {
    expect(parseLoadResult(`${JSON.stringify(answer)}\n`)).toEqual(answer);
  });

  it.each([
    ["no JSON", "requests: 3"],
    ["a missing field", JSON.stringify({ ...answer, errors: undefined })],
    ["no time at all", JSON.stringify({ ...answer, seconds: 0 })],
    ["a histogram of something else", JSON.stringify({ ...answer, histogram: [[1]] })],
  ])("does not take %s", (_, text) => {
    expect(() => parseLoadResult(text)).toThrow(Error);
  });
});

describe("histograms", () => {
  it("are merged by value", () => {
    expect(
      mergeHistograms([
        [
          [10, 1],
          [30, 2],
        ],
        [
          [20, 1],
          [30, 1],
        ],
      ]),
    ).toEqual([
      [10, 1],
      [20, 1],
      [30, 3],
    ]);
  });

  it.each([
    [0, 10],
    [0.5, 10],
    [0.51, 20],
    [0.9, 20],
    [0.91, 1_000],
    [1, 1_000],
  ])("have at a share of %d the value %d", (share, value) => {
    expect(
      histogramQuantile(
        [
          [10, 50],
          [20, 40],
          [1_000, 10],
        ],
        share,
      ),
    ).toBe(value);
  });

  it("have no quantile when empty", () => {
    expect(histogramQuantile([], 0.5)).toBeNaN();
  });
});

it("tells the load generator everything a load says", () => {
  const load = {
    connections: 16,
    path: "/16k" as const,
    seconds: 2,
    warmupSeconds: 0.5,
    requestsPerSecond: 1_000,
    bodyBytes: 64,
    newConnections: true,
  };

  expect(loadArguments(load, { address: "127.0.0.1:8080", host: "app.bench.mesh" }).join(" ")).toBe(
    "--address 127.0.0.1:8080 --host app.bench.mesh --path /16k --expect 16384 --connections 16 --seconds 2 --warmup 0.5 --rate 1000 --body 64 --new-connections",
  );
});
