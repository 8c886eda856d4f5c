import { describe, expect, it } from "vitest";
import { type FakeClock, fakeClock } from "../../test/fakes/fake-clock.ts";
import { EpochAge } from "./epoch-age.ts";

const start = 1_000_000;

function following(): {
  clock: FakeClock;
  age: EpochAge;
  epoch: (number: number, afterSeconds?: number) => void;
} {
  const clock = fakeClock(start);
  const age = new EpochAge(clock);
  const epoch = (number: number, timeSeconds = start + (number - 1) * 10): void =>
    age.note({ number, timeSeconds });
  return { clock, age, epoch };
}

describe("the age of a follower's newest epoch", () => {
  it("is the time since it arrived while epochs come as they are made", () => {
    const { clock, age, epoch } = following();
    for (let number = 1; number <= 20; number += 1) {
      epoch(number);
      clock.advanceSeconds(10);
    }

    expect(age.seconds).toBe(10);
  });

  it("grows without bound when a relay hands old epochs on at half the pace", () => {
    const { clock, age, epoch } = following();
    for (let number = 1; number <= 100; number += 1) {
      epoch(number);
      clock.advanceSeconds(20);
    }

    expect(age.seconds).toBe(20 + 99 * 10);
  });

  it("stays what it was when a relay hands old epochs on at the right pace, an hour late", () => {
    const { clock, age, epoch } = following();
    epoch(1);
    clock.advanceSeconds(3600);
    for (let number = 2; number <= 50; number += 1) {
      epoch(number);
      clock.advanceSeconds(10);
    }

    expect(age.seconds).toBe(3600);
  });

  it("begins with what the wall clock says of the first", () => {
    const { clock, age, epoch } = following();
    clock.advanceSeconds(500);

    epoch(1);

    expect(age.seconds).toBe(500);
  });

  it("is small again once the relay has caught up", () => {
    const { clock, age, epoch } = following();
    epoch(1);
    clock.advanceSeconds(3600);
    for (let number = 2; number <= 361; number += 1) epoch(number);

    expect(age.seconds).toBe(0);
  });

  it("is small after the sequencer was away: its times have gone on, though its numbers have not", () => {
    const { clock, age, epoch } = following();
    epoch(1);
    clock.advanceSeconds(3600);

    epoch(2, start + 3600);
    const first = age.seconds;
    clock.advanceSeconds(10);
    epoch(3, start + 3610);

    expect([first, age.seconds]).toEqual([0, 0]);
  });

  it("is small while the sequencer's times stand still because its clock was put back", () => {
    const { clock, age, epoch } = following();
    for (let number = 1; number <= 30; number += 1) {
      epoch(number, start);
      clock.advanceSeconds(10);
    }

    expect(age.seconds).toBe(10);
  });

  it("is small after the machine slept, which the monotonic clock does not know", () => {
    const { age, epoch } = following();
    epoch(1);

    epoch(2, start + 8 * 3600);

    expect(age.seconds).toBe(0);
  });

  describe("when the wall clock is put back", () => {
    const day = 86_400;

    it("is small where that clock was ahead at the first epoch", () => {
      const { clock, age, epoch } = following();
      clock.setWallSeconds(start + day);
      epoch(1);
      clock.advanceSeconds(10);
      epoch(2);
      expect(age.seconds).toBe(day);

      clock.setWallSeconds(start + 10);
      clock.advanceSeconds(10);
      epoch(3);

      expect(age.seconds).toBe(0);
    });

    it("is small also where the first epoch was an hour old and the relay has caught up since", () => {
      const { clock, age, epoch } = following();
      clock.advanceSeconds(3600);
      clock.setWallSeconds(start + 3600 + day);
      epoch(1);
      epoch(361);
      expect(age.seconds).toBe(day);

      clock.setWallSeconds(start + 3600);
      clock.advanceSeconds(10);
      epoch(362);

      expect(age.seconds).toBe(0);
    });

    it("becomes less by no more than the clock was put back, for a relay that is late from the first epoch on", () => {
      const { clock, age, epoch } = following();
      clock.setWallSeconds(start + 3600);
      epoch(1);
      clock.setWallSeconds(start + 3540);
      for (let number = 2; number <= 50; number += 1) {
        clock.advanceSeconds(10);
        epoch(number);
      }

      expect(age.seconds).toBe(3540);
    });

    it("stays what it was for a relay that fell behind later", () => {
      const { clock, age, epoch } = following();
      epoch(1);
      clock.advanceSeconds(3600);
      epoch(2);
      clock.setWallSeconds(start - day);
      for (let number = 3; number <= 50; number += 1) {
        clock.advanceSeconds(10);
        epoch(number);
      }

      expect(age.seconds).toBe(3590);
    });

    it("does not become less with every swing of a clock", () => {
      const { clock, age, epoch } = following();
      clock.setWallSeconds(start + 3600);
      epoch(1);
      for (let number = 2; number <= 100; number += 1) {
        clock.advanceSeconds(10);
        clock.setWallSeconds(start + 3600 + 10 * (number - 1) + (number % 2 === 0 ? -5 : 5));
        epoch(number);
      }

      expect(age.seconds).toBe(3595);
    });
  });

  it("does not begin anew with an epoch that came before", () => {
    const { clock, age, epoch } = following();
    epoch(1);
    clock.advanceSeconds(60);

    epoch(1);

    expect(age.seconds).toBe(60);
  });
});

it("tells how far the wall clock is ahead, once an epoch has come live", () => {
  const clock = fakeClock(2_000);
  const age = new EpochAge(clock);
  age.note({ number: 1, timeSeconds: 1_000 });
  expect(age.clockAheadSeconds).toBeUndefined();

  clock.advanceSeconds(10);
  age.note({ number: 2, timeSeconds: 1_010 });
  clock.advanceSeconds(5);

  expect(age.clockAheadSeconds).toBe(1_000);
  clock.setWallSeconds(1_015);
  expect(age.clockAheadSeconds).toBe(0);
});
