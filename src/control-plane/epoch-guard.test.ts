import { expect, it } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { EpochGuard } from "./epoch-guard.ts";

const day = 86_400;
const startSeconds = 1_800_000_000;

it("lets a clock pass that is a little behind or ahead of the last epoch", () => {
  const guard = new EpochGuard(fakeClock(startSeconds));

  expect(guard.judge(startSeconds + 60).ok).toBe(true);
  expect(guard.judge(startSeconds - 3_600).ok).toBe(true);
});

it("refuses with a clock more than a minute behind the last epoch, naming both times", () => {
  const guard = new EpochGuard(fakeClock(startSeconds));

  expect(guard.judge(startSeconds + 61)).toMatchObject({
    reason: "clock-behind",
    detail:
      "this machine's clock shows 2027-01-15T08:00:00.000Z, the trust log's last epoch is of 2027-01-15T08:01:01.000Z: set the clock right",
  });
});

it("waits for agents where the clock is far ahead at a start, and goes on when nobody disagrees in time", () => {
  const clock = fakeClock(startSeconds);
  const guard = new EpochGuard(clock);

  expect(guard.judge(startSeconds - day)).toMatchObject({ reason: "clock-unconfirmed" });
  clock.advanceSeconds(15);

  expect(guard.judge(startSeconds - day).ok).toBe(true);
});

it("does not wait once an agent's clock agrees", () => {
  const guard = new EpochGuard(fakeClock(startSeconds), () => [-300]);

  expect(guard.judge(startSeconds - day).ok).toBe(true);
});

it.each([-301, 301, -day, day])("refuses while the median agent is %d s ahead", (ahead) => {
  const guard = new EpochGuard(fakeClock(startSeconds), () => [ahead, ahead, 0]);

  expect(guard.judge(startSeconds)).toMatchObject({ reason: "clock-disagrees" });
});

it("is not moved by one agent of three that is wrong", () => {
  const guard = new EpochGuard(fakeClock(startSeconds), () => [day, 0, 1]);

  expect(guard.judge(startSeconds).ok).toBe(true);
});

it("is not kept from running by the only agent, but is from starting far ahead of the last epoch", () => {
  const clock = fakeClock(startSeconds);
  const running = new EpochGuard(clock, () => agents);
  let agents: number[] = [];
  expect(running.judge(startSeconds).ok).toBe(true);

  agents = [day];

  expect(running.judge(startSeconds).ok).toBe(true);
  expect(new EpochGuard(clock, () => agents).judge(startSeconds - day)).toMatchObject({
    reason: "clock-disagrees",
  });
});

it("goes on by itself when the clock is put right", () => {
  const clock = fakeClock(startSeconds - day);
  const guard = new EpochGuard(clock);
  expect(guard.judge(startSeconds).ok).toBe(false);

  clock.setWallSeconds(startSeconds);

  expect(guard.judge(startSeconds).ok).toBe(true);
});
