import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { estimate, median, medianUpperBound } from "./statistics.ts";

const count = (length: number): number[] => Array.from({ length }, (_, index) => index + 1);

describe("median", () => {
  it.each([
    [[3], 3],
    [[3, 1, 2], 2],
    [[4, 1, 3, 2], 2.5],
  ])("of %j is %d", (values, expected) => {
    expect(median(values)).toBe(expected);
  });

  it("of nothing is NaN", () => {
    expect(median([])).toBeNaN();
  });
});

describe("estimate", () => {
  it("gives no interval of five values, whose range encloses the median with 93.75 % only", () => {
    expect(estimate(count(5))).toEqual({ median: 3, low: undefined, high: undefined });
  });

  // Ranks of the usual tables of confidence intervals for a median.
  it.each([
    [6, 1, 6],
    [8, 1, 8],
    [9, 2, 8],
    [10, 2, 9],
    [14, 3, 12],
    [20, 6, 15],
    [100, 40, 61],
  ])("takes from %d values those of rank %d and %d", (length, low, high) => {
    const { low: foundLow, high: foundHigh } = estimate(count(length));

    expect([foundLow, foundHigh]).toEqual([low, high]);
  });

  it("encloses the median whatever the values are", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ noNaN: true }), { minLength: 6, maxLength: 40 }), (values) => {
        const { median: middle, low, high } = estimate(values);
        return low !== undefined && high !== undefined && low <= middle && middle <= high;
      }),
    );
  });

  it("holds the true median in at least 95 % of samples", () => {
    let state = 1;
    const random = (): number => {
      state = (state * 48_271) % 2_147_483_647;
      return state / 2_147_483_647;
    };
    const samples = 4_000;
    let held = 0;
    for (let sample = 0; sample < samples; sample += 1) {
      const { low = 1, high = 0 } = estimate(Array.from({ length: 10 }, () => random() ** 3));
      if (low <= 0.125 && 0.125 <= high) held += 1;
    }

    expect(held / samples).toBeGreaterThan(0.95);
  });
});

describe("medianUpperBound", () => {
  it.each([
    [4, undefined],
    [5, 5],
    [8, 7],
    [10, 9],
    [20, 15],
  ])("of %d values is the one of rank %s", (length, expected) => {
    expect(medianUpperBound(count(length))).toBe(expected);
  });
});
