import { expect, it } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { EpochClock } from "./epoch-clock.ts";

it("follows the wall clock, small corrections included", () => {
  const clock = fakeClock(1000);
  const epochs = new EpochClock(clock);

  clock.advanceSeconds(10);
  clock.setWallSeconds(1012);

  expect(epochs.nowSeconds()).toBe(1012);
});

it("does not follow a jump that is taken back within a minute", () => {
  const clock = fakeClock(1000);
  const epochs = new EpochClock(clock);

  clock.setWallSeconds(4_000_000_000);
  const during = epochs.nowSeconds();
  clock.advanceSeconds(50);
  const later = epochs.nowSeconds();
  clock.setWallSeconds(1060);

  expect([during, later, epochs.nowSeconds()]).toEqual([1000, 1050, 1060]);
});

it("follows a jump that lasts, as after a sleep", () => {
  const clock = fakeClock(1000);
  const epochs = new EpochClock(clock);

  clock.setWallSeconds(30_000);
  epochs.nowSeconds();
  clock.advanceSeconds(60);

  expect(epochs.nowSeconds()).toBe(30_060);
});

it("counts two short jumps apart from each other", () => {
  const clock = fakeClock(1000);
  const epochs = new EpochClock(clock);
  const jumpFor = (seconds: number): number => {
    const before = clock.nowSeconds();
    clock.setWallSeconds(9_000_000);
    epochs.nowSeconds();
    clock.advanceSeconds(seconds);
    const during = epochs.nowSeconds();
    clock.setWallSeconds(before + seconds);
    epochs.nowSeconds();
    return during;
  };

  expect([jumpFor(40), jumpFor(40)]).toEqual([1040, 1080]);
});
