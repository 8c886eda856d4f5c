import { describe, expect, test } from "vitest";
import { fakeClock } from "../../test/fakes/fake-clock.ts";
import { CoarseTimer } from "./coarse-timer.ts";

describe("a coarse timer", () => {
  test("fires a deadline once, not before its time and at the next tick", () => {
    const clock = fakeClock();
    using timer = new CoarseTimer(clock);
    const fired: number[] = [];
    timer.add({ deadlineMillis: timer.in(1_000), onDeadline: () => fired.push(timer.nowMillis) });

    for (let tick = 0; tick < 8; tick += 1) {
      clock.advanceSeconds(0.5);
      timer.tick();
    }

    expect(fired).toEqual([1_500]);
  });

  test("lets a deadline be moved at any time and removed", () => {
    const clock = fakeClock();
    using timer = new CoarseTimer(clock);
    const fired: string[] = [];
    const moved = { deadlineMillis: timer.in(1_000), onDeadline: () => fired.push("moved") };
    const removed = { deadlineMillis: timer.in(1_000), onDeadline: () => fired.push("removed") };
    timer.add(moved);
    timer.add(removed);

    moved.deadlineMillis = timer.in(10_000);
    timer.remove(removed);
    clock.advanceSeconds(5);
    timer.tick();
    expect(fired).toEqual([]);
    clock.advanceSeconds(6);
    timer.tick();

    expect(fired).toEqual(["moved"]);
  });

  test("counts nothing of a pause of the process against anybody", async () => {
    let millis = 0;
    const clock = { nowSeconds: () => 0, monotonicMillis: () => millis };
    using timer = new CoarseTimer(clock);
    const fired: number[] = [];
    timer.add({ deadlineMillis: timer.in(2_000), onDeadline: () => fired.push(timer.nowMillis) });
    timer.start();
    const ticked = async (): Promise<void> => {
      const before = timer.nowMillis;
      while (timer.nowMillis === before) await new Promise((resolve) => setTimeout(resolve, 20));
    };
    millis = 60_000;
    await ticked();
    expect([timer.nowMillis, fired]).toEqual([500, []]);
    millis = 62_000;
    await ticked();

    expect([timer.nowMillis, fired]).toEqual([2_500, [2_500]]);
  });

  test("ticks by itself once started", async () => {
    let millis = 0;
    const fired = await new Promise((resolve) => {
      const clock = { nowSeconds: () => 0, monotonicMillis: () => millis };
      const timer = new CoarseTimer(clock).start();
      timer.add({
        deadlineMillis: timer.in(0),
        onDeadline: () => {
          timer[Symbol.dispose]();
          resolve(true);
        },
      });
      millis = 10_000;
    });

    expect(fired).toBe(true);
  });
});
