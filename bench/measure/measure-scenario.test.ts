import { describe, expect, it } from "vitest";
import type { Measurement } from "./measure-pair.ts";
import { attemptsMax, leastDisturbed, RepetitionBudget } from "./measure-scenario.ts";

const running = new AbortController().signal;

function measurementWith(parts: Partial<Measurement>): Measurement {
  return { figures: {}, foreignCores: 0, errors: [], ...parts };
}

/** Gives one after the other, and counts. */
function inTurn(...measurements: readonly (Measurement | Error)[]): {
  readonly measure: () => Promise<Measurement>;
  readonly count: () => number;
} {
  let count = 0;
  return {
    measure: async () => {
      const next = measurements[Math.min(count, measurements.length - 1)];
      count += 1;
      if (next === undefined || next instanceof Error) throw next ?? new Error("none left");
      return next;
    },
    count: () => count,
  };
}

function richBudget(): RepetitionBudget {
  const budget = new RepetitionBudget(running);
  budget.earn(60_000);
  return budget;
}

const atOnce = async (): Promise<void> => {};

describe("leastDisturbed", () => {
  it("takes the first measurement that nobody disturbed", async () => {
    const good = measurementWith({ foreignCores: 0.1 });
    const tries = inTurn(measurementWith({ foreignCores: 0.9 }), good);

    expect(await leastDisturbed(tries.measure, richBudget(), atOnce)).toBe(good);
    expect(tries.count()).toBe(2);
  });

  it("takes the least disturbed of all attempts when each was disturbed", async () => {
    const least = measurementWith({ foreignCores: 0.5 });
    const worse = measurementWith({ foreignCores: 0.9 });
    const tries = inTurn(worse, least, worse);

    expect(await leastDisturbed(tries.measure, richBudget(), atOnce)).toBe(least);
    expect(tries.count()).toBe(attemptsMax);
  });

  it("repeats a measurement with errors and prefers a disturbed one without", async () => {
    const disturbed = measurementWith({ foreignCores: 1.5 });
    const tries = inTurn(
      measurementWith({ errors: ["503"] }),
      disturbed,
      measurementWith({ errors: ["503"] }),
    );

    expect(await leastDisturbed(tries.measure, richBudget(), atOnce)).toBe(disturbed);
  });

  it("keeps what was thrown as an error", async () => {
    const tries = inTurn(new Error("no answer"));

    expect((await leastDisturbed(tries.measure, richBudget(), atOnce)).errors).toEqual(["no answer"]);
    expect(tries.count()).toBe(attemptsMax);
  });

  it("does not repeat when repetitions have used up their time", async () => {
    const budget = richBudget();
    budget.spend(120_000);
    const tries = inTurn(measurementWith({ foreignCores: 0.9 }));

    await leastDisturbed(tries.measure, budget, atOnce);

    expect(tries.count()).toBe(1);
  });

  it("does not repeat once the run was stopped", async () => {
    const stopped = new RepetitionBudget(AbortSignal.abort());
    stopped.earn(60_000);
    const tries = inTurn(measurementWith({ foreignCores: 0.9 }));

    await leastDisturbed(tries.measure, stopped, atOnce);

    expect(tries.count()).toBe(1);
  });
});
