import { expect, it } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { FollowerProgress } from "./follower-progress.ts";

it("measures from the moment the log had a size to the first report that covers it", () => {
  const clock = fakeClock();
  const progress = new FollowerProgress(clock);
  progress.noteLog(5);
  progress.noteFollower("one", 5);
  progress.noteFollower("two", 4);
  clock.advanceSeconds(1);
  progress.noteLog(8);
  clock.advanceSeconds(0.25);
  progress.noteFollower("one", 9);
  clock.advanceSeconds(0.5);
  progress.noteFollower("one", 10);
  progress.noteFollower("two", 6);

  expect(progress.reached(7)).toEqual([{ instance: "one", millis: 250 }]);
  expect(progress.reached(6)).toEqual([
    { instance: "one", millis: 250 },
    { instance: "two", millis: 750 },
  ]);
});

it("says 0 of what was so before anybody looked", () => {
  const clock = fakeClock();
  const progress = new FollowerProgress(clock);
  progress.noteLog(5);
  clock.advanceSeconds(1);
  progress.noteFollower("late", 9);
  progress.noteLog(9);

  expect(progress.reached(3)).toEqual([{ instance: "late", millis: 0 }]);
  expect(progress.reached(9)).toEqual([{ instance: "late", millis: 0 }]);
});

it("keeps the times of so many sizes only, and none of a follower that ended", () => {
  const clock = fakeClock();
  const progress = new FollowerProgress(clock);
  progress.noteFollower("one", 0);
  for (let size = 1; size <= 10_000; size += 1) {
    progress.noteLog(size);
    clock.advanceSeconds(0.001);
    progress.noteFollower("one", size);
  }

  expect(progress.reached(10_000)[0]?.millis).toBeCloseTo(1);
  expect(progress.reached(2)).toEqual([{ instance: "one", millis: 0 }]);
  progress.forget("one");
  expect(progress.reached(2)).toEqual([]);
});

it("tells how long a follower had waited for the oldest change that it reports to have, once", () => {
  const clock = fakeClock();
  const seen: number[] = [];
  const progress = new FollowerProgress(clock, (seconds) => seen.push(seconds));
  progress.noteLog(9);
  progress.noteFollower("one", 9);
  progress.noteLog(10);
  clock.advanceSeconds(5);
  progress.noteLog(12);
  clock.advanceSeconds(1);
  progress.noteFollower("one", 12);
  progress.noteFollower("one", 12);

  expect(seen).toEqual([6]);
});
