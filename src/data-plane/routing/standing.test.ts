import { expect, it, test } from "vitest";
import { type InstanceFailure, type OutlierPolicy, Standing } from "./standing.ts";

const policy: OutlierPolicy = {
  consecutiveFailures: 3,
  ejectSeconds: 10,
  ejectSecondsMax: 60,
  ejectPercentMax: 50,
};
const failures: readonly InstanceFailure[] = [
  "connect-failed",
  "reset",
  "timeout",
  "502",
  "503",
  "504",
  "grpc-unavailable",
];

test.each(failures)("three of %s in a row are enough, and two are not", (failure) => {
  const standing = new Standing();

  expect([1, 2, 3].map((at) => standing.ended(failure, at, policy))).toEqual([false, false, true]);
});

it("begins to count anew with every answer that is no failure", () => {
  const standing = new Standing();
  const outcomes = ["503", "503", undefined, "503", "503", undefined, "503", "503"] as const;

  expect(outcomes.map((one, at) => standing.ended(one, at, policy))).not.toContain(true);
});

it("is out for a time that doubles with every ejection, and for no longer than the longest", () => {
  const standing = new Standing();
  const seconds: number[] = [];
  let now = 0;

  for (let count = 0; count < 5; count += 1) {
    standing.eject("503", now, policy);
    seconds.push((standing.untilMillis - now) / 1000);
    now = standing.untilMillis;
    standing.refresh(now);
    standing.ended("503", now, policy);
  }

  expect(seconds).toEqual([10, 20, 40, 60, 60]);
});

it("is out for longer than the longest time where the first is longer", () => {
  const standing = new Standing();

  standing.eject("503", 0, { ...policy, ejectSecondsMax: 1 });

  expect(standing.untilMillis).toBe(10_000);
});

it("is out one time less for every span of the first time that it was well", () => {
  const standing = new Standing();
  for (let count = 0; count < 3; count += 1) standing.eject("503", 0, policy);
  backInside(standing, 100_000);

  standing.eject("503", 100_000 + 25_000, policy);

  expect([standing.ejections, standing.untilMillis - 125_000]).toEqual([2, 20_000]);
});

it("is on probation when its time is over, and not before", () => {
  const standing = new Standing();
  standing.eject("503", 0, policy);

  standing.refresh(9_999);
  const before = standing.state;
  standing.refresh(10_000);

  expect([before, standing.state]).toEqual(["out", "probation"]);
});

it("has one request at a time on probation", () => {
  const standing = onProbation();

  const open = [standing.isOpen(10_000)];
  standing.picked(10_000);
  open.push(standing.isOpen(10_001));
  standing.ended(undefined, 10_000, policy);
  open.push(standing.isOpen(10_002));

  expect(open).toEqual([true, false, true]);
});

it("has another request on probation where one has come to nothing for five seconds", () => {
  const standing = onProbation();

  standing.picked(10_000);

  expect([standing.isOpen(14_999), standing.isOpen(15_000)]).toEqual([false, true]);
});

it("is back after five requests that went well", () => {
  const standing = onProbation();

  const settled = [1, 2, 3, 4, 5].map((at) => {
    standing.ended(undefined, 10_000 + at, policy);
    return standing.settle(10_000 + at);
  });

  expect(settled).toEqual([false, false, false, false, true]);
  expect(standing.state).toBe("in");
});

it("is out again with the first failure on probation", () => {
  const standing = onProbation();

  expect(standing.ended("reset", 10_001, policy)).toBe(true);
});

it("hears nothing of requests that were sent before it went out", () => {
  const standing = onProbation();

  for (let count = 0; count < 9; count += 1) standing.ended(undefined, 9_000, policy);

  expect(standing.settle(10_001)).toBe(false);
  expect(standing.ended("timeout", 9_000, policy)).toBe(false);
});

it("is out for slowness after ten slow answers in a row, whatever is said of failures", () => {
  const standing = new Standing();
  const nine = Array.from({ length: 9 }, () => standing.heard(true, 1, policy));
  standing.heard(false, 1, policy);

  const ten = Array.from({ length: 10 }, () => standing.heard(true, 1, policy));

  expect(nine).not.toContain(true);
  expect(ten.indexOf(true)).toBe(9);
});

it("passes no trial by slow answers, and is out again after three", () => {
  const standing = onProbation();

  const out = [1, 2, 3].map((at) => {
    const isOut = standing.heard(true, 10_000 + at, policy);
    standing.ended(undefined, 10_000 + at, policy);
    return isOut;
  });

  expect(out).toEqual([false, false, true]);
  expect(standing.settle(10_004)).toBe(false);
});

it("has the trial after a slow one count, and none before it was fast again", () => {
  const standing = onProbation();

  const settled = [true, false, false, false, false, false].map((isSlow, at) => {
    standing.heard(isSlow, 10_000 + at, policy);
    standing.ended(undefined, 10_000 + at, policy);
    return standing.settle(10_000 + at);
  });

  expect(settled.indexOf(true)).toBe(5);
});

it("does not hold slow answers against it that were asked for before it was on probation", () => {
  const standing = onProbation();

  expect([1, 2, 3].map((at) => standing.heard(true, 9_000 + at, policy))).not.toContain(true);
});

function onProbation(): Standing {
  const standing = new Standing();
  standing.eject("503", 0, policy);
  standing.refresh(10_000);
  return standing;
}

function backInside(standing: Standing, atMillis: number): void {
  standing.refresh(atMillis);
  for (let count = 0; count < 5; count += 1) standing.ended(undefined, atMillis, policy);
  standing.settle(atMillis);
}
