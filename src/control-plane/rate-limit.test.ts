import { expect, it } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { openRateLimit } from "./rate-limit.ts";

it("allows a burst, then so many a second, to each caller of its own", () => {
  const clock = fakeClock();
  const limit = openRateLimit(clock, { perSecond: 2, burst: 3, callersMax: 10 });
  const take = (caller: string): boolean[] => Array.from({ length: 4 }, () => limit.take(caller));

  expect(take("one")).toEqual([true, true, true, false]);
  expect(take("two")).toEqual([true, true, true, false]);
  clock.advanceSeconds(1);
  expect(take("one")).toEqual([true, true, false, false]);
  clock.advanceSeconds(3_600);
  expect(take("one")).toEqual([true, true, true, false]);
});

it("lets a caller that has any left take more, and then wait until that is paid; looking is free", () => {
  const clock = fakeClock();
  const limit = openRateLimit(clock, { perSecond: 2, burst: 3, callersMax: 10 });

  expect([limit.take("one", 0), limit.take("one", 0), limit.take("one", 8)]).toEqual([true, true, true]);
  clock.advanceSeconds(2.5);
  expect([limit.take("one", 0), limit.take("one")]).toEqual([false, false]);
  clock.advanceSeconds(0.5);
  expect(limit.take("one")).toBe(true);
});

it("gives nothing for a wall clock that is set", () => {
  const clock = fakeClock();
  const limit = openRateLimit(clock, { perSecond: 1, burst: 1, callersMax: 10 });
  limit.take("one");

  clock.setWallSeconds(4_000_000_000);

  expect(limit.take("one")).toBe(false);
});

it("forgets the longest idle caller where there are too many", () => {
  const limit = openRateLimit(fakeClock(), { perSecond: 1, burst: 1, callersMax: 2 });
  for (const caller of ["one", "two", "one", "three"]) limit.take(caller);

  expect(limit.take("one")).toBe(false);
  expect(limit.take("two")).toBe(true);
});
