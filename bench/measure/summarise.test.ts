import { describe, expect, it } from "vitest";
import { scenarios } from "../scenarios.ts";
import type { Measurement } from "./measure-pair.ts";
import type { ScenarioRounds } from "./measure-scenario.ts";
import { summarise, verdictOf } from "./summarise.ts";

const [scenario] = scenarios;

function rate(requestsPerSecond: number, parts: Partial<Measurement> = {}): Measurement {
  return { figures: { requestsPerSecond }, foreignCores: 0, errors: [], ...parts };
}

function roundsOf(rounds: readonly Readonly<Record<string, Measurement>>[]): ScenarioRounds {
  if (scenario === undefined) throw new Error("there are scenarios");
  return { scenario, rounds };
}

describe("summarise", () => {
  it("takes the ratio round by round, so that a slow minute of the machine is in both numbers", () => {
    const rounds = [100, 50, 200, 100, 400, 10].map((base) => ({ nginx: rate(base), troth: rate(base * 2) }));

    const [nginx, troth] = summarise(roundsOf(rounds), ["nginx", "troth"], "nginx");

    expect(nginx?.compared).toEqual({});
    expect(troth?.compared.requestsPerSecond?.ratio).toEqual({ median: 2, low: 2, high: 2 });
    expect(troth?.compared.requestsPerSecond?.difference.median).toBe(100);
  });

  it("leaves out a round in which either of the two had an error, and says which error", () => {
    const good = { nginx: rate(100), troth: rate(200) };
    const rounds = [good, { nginx: rate(100), troth: rate(1, { errors: ["503"] }) }, good];

    const [, troth] = summarise(roundsOf(rounds), ["nginx", "troth"], "nginx");

    expect(troth).toMatchObject({ goodRounds: 2, errors: ["503"], figures: { requestsPerSecond: 200 } });
    expect(troth?.compared.requestsPerSecond?.ratio.median).toBe(2);
  });

  it("counts rounds that others disturbed", () => {
    const rounds = [{ nginx: rate(1, { foreignCores: 0.5 }) }, { nginx: rate(1) }];

    expect(summarise(roundsOf(rounds), ["nginx"], "nginx")[0]?.disturbedRounds).toBe(1);
  });

  it("leaves out pairs that were not measured", () => {
    expect(
      summarise(roundsOf([{ nginx: rate(1) }]), ["nginx", "direct"], "nginx").map(({ name }) => name),
    ).toEqual(["nginx"]);
  });
});

describe("verdictOf", () => {
  const same = { median: 1, low: 0.97, high: 1.03 };

  it.each([
    [{ median: 1.2, low: 1.1, high: 1.3 }, same, "higher"],
    [{ median: 0.8, low: 0.7, high: 0.9 }, same, "lower"],
    [{ median: 1.05, low: 0.99, high: 1.2 }, same, "no difference seen"],
    [{ median: 1.2, low: 1.1, high: 1.3 }, { median: 1.1, low: 1.05, high: 1.2 }, "inconclusive"],
    [{ median: 1.2, low: undefined, high: undefined }, same, "inconclusive"],
  ] as const)("of %j beside a control of %j is %s", (ratio, control, verdict) => {
    expect(verdictOf(ratio, control)).toBe(verdict);
  });
});
