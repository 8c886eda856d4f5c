import { expect, it } from "vitest";
import { AppUsage } from "./app-usage.ts";

const answered = { isError: false, durationMicros: 1_000, isTunnel: false };

it("tells quantiles to within a fifth, and how many failed", () => {
  const usage = new AppUsage(0);
  for (let micros = 1_000; micros <= 100_000; micros += 1_000)
    usage.ended({ ...answered, durationMicros: micros, isError: micros > 90_000 });

  const { requests, errors, p50Millis, p90Millis, p99Millis } = usage.figures();

  expect([requests, errors]).toEqual([100, 10]);
  for (const [told, exact] of [
    [p50Millis, 50],
    [p90Millis, 90],
    [p99Millis, 99],
  ] as const) {
    expect(told).toBeGreaterThanOrEqual(exact);
    expect(told).toBeLessThan(exact * 1.2 + 1);
  }
});

it("forgets what is more than ten seconds old, also after a silence", () => {
  const usage = new AppUsage(0);
  usage.ended(answered);

  usage.turn(9_000);
  const within = usage.figures().requests;
  usage.turn(10_500);
  const after = usage.figures().requests;
  usage.ended(answered);
  usage.turn(900_000);

  expect([within, after, usage.figures().requests]).toEqual([1, 0, 0]);
});

it("counts a tunnel as a request and does not time it, and takes durations of any length", () => {
  const usage = new AppUsage(0);
  usage.ended({ ...answered, isTunnel: true });

  expect(usage.figures()).toMatchObject({ requests: 1, p99Millis: 0 });

  usage.ended({ ...answered, durationMicros: Number.MAX_SAFE_INTEGER });
  usage.ended({ ...answered, durationMicros: 0 });
  expect(usage.figures().p99Millis).toBeGreaterThan(3_000_000);
});
