import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RetryBudget, retriesPerWindowMin } from "./retry-budget.ts";

describe("a retry budget", () => {
  test("gives no more than the share of the requests of the last ten seconds and a few, whatever comes when", () => {
    const step = fc.record({ afterMillis: fc.integer({ min: 0, max: 4_000 }), isRetry: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), fc.integer({ min: 1, max: 100 }), (steps, percent) => {
        const budget = new RetryBudget();
        const requests: number[] = [];
        const retries: number[] = [];
        let now = 0;
        for (const { afterMillis, isRetry } of steps) {
          now += afterMillis;
          const second = Math.floor(now / 1_000);
          const isRecent = (at: number): boolean => at > second - 10;
          const allowed =
            retriesPerWindowMin + Math.floor((requests.filter(isRecent).length * percent) / 100);
          if (!isRetry) {
            budget.countRequest(now);
            requests.push(second);
            continue;
          }
          const used = retries.filter(isRecent).length;
          expect(budget.take(percent, now)).toBe(used < allowed);
          if (used < allowed) retries.push(second);
        }
      }),
    );
  });

  test("is full again after ten seconds without retries", () => {
    const budget = new RetryBudget();
    const taken = (): number => {
      let count = 0;
      while (budget.take(1, now)) count += 1;
      return count;
    };
    let now = 5_000;
    expect([taken(), taken()]).toEqual([retriesPerWindowMin, 0]);
    now = 14_999;
    expect(taken()).toBe(0);
    now = 15_000;
    expect(taken()).toBe(retriesPerWindowMin);
    now = 1e12;
    expect(taken()).toBe(retriesPerWindowMin);
  });

  test("grows with the requests of the window", () => {
    const budget = new RetryBudget();
    for (let count = 0; count < 1_000; count += 1) budget.countRequest(count);
    let taken = 0;
    while (budget.take(20, 1_000)) taken += 1;

    expect(taken).toBe(200 + retriesPerWindowMin);
  });
});
