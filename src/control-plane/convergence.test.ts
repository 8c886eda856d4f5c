import { expect, it } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { Convergence } from "./convergence.ts";

function begin(): { convergence: Convergence; wait: (seconds: number) => void; seen: number[] } {
  const clock = fakeClock();
  const seen: number[] = [];
  const convergence = new Convergence(clock, (seconds) => seen.push(seconds));
  return { convergence, wait: clock.advanceSeconds, seen };
}

it("measures from the change to each follower's word", () => {
  const { convergence, wait, seen } = begin();

  convergence.changed(10);
  wait(2);
  convergence.reached(9, 10);
  wait(1);
  convergence.reached(9, 10);

  expect(seen).toEqual([2, 3]);
});

it("counts the change that a follower has waited for longest, once", () => {
  const { convergence, wait, seen } = begin();

  convergence.changed(10);
  wait(5);
  convergence.changed(12);
  wait(1);
  convergence.reached(9, 12);
  convergence.reached(12, 12);

  expect(seen).toEqual([6]);
});

it("measures nothing of a change that has not been reached", () => {
  const { convergence, seen } = begin();

  convergence.changed(10);
  convergence.reached(8, 9);

  expect(seen).toEqual([]);
});
