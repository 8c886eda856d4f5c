import { expect, it } from "vitest";
import { type FakeClock, fakeClock } from "../../test/fakes/fake-clock.ts";
import { type IssuerClock, issuerClock } from "./index.ts";

const start = 1_800_000_000;

it("shows the machine's time, of which nothing is known, until it has heard of the issuer", () => {
  const issuer = issuerClock(fakeClock(start));

  expect([issuer.nowMillis(), issuer.errorMillis()]).toEqual([start * 1_000, Number.POSITIVE_INFINITY]);
});

it("takes the issuer's time to have been in the middle of question and answer", () => {
  const clock = fakeClock(start);
  const issuer = issuerClock(clock);
  ask(issuer, clock, { thereMillis: 500, backMillis: 500, aheadMillis: 60_000 });

  expect(issuer.nowMillis()).toBe(start * 1_000 + 1_000 + 60_000);
  expect(issuer.errorMillis()).toBe(500);
});

it("is wrong by no more than it says, however the way is divided", () => {
  for (const [thereMillis, backMillis] of [
    [1_000, 0],
    [0, 1_000],
    [300, 20],
  ] as const) {
    const clock = fakeClock(start);
    const issuer = issuerClock(clock);
    ask(issuer, clock, { thereMillis, backMillis, aheadMillis: -60_000 });
    const wrong = Math.abs(issuer.nowMillis() - (clock.nowSeconds() * 1_000 - 60_000));

    expect(wrong).toBeLessThanOrEqual(Math.ceil(issuer.errorMillis()));
  }
});

it("does not move when somebody sets the machine's clock", () => {
  const clock = fakeClock(start);
  const issuer = issuerClock(clock);
  ask(issuer, clock, { thereMillis: 1, backMillis: 1, aheadMillis: 0 });
  const before = issuer.nowMillis();
  clock.setWallSeconds(start + 3_600);

  expect(issuer.nowMillis()).toBe(before);
});

it("prefers the quicker of two answers that agree", () => {
  const clock = fakeClock(start);
  const issuer = issuerClock(clock);
  ask(issuer, clock, { thereMillis: 5, backMillis: 5, aheadMillis: 0 });
  ask(issuer, clock, { thereMillis: 900, backMillis: 0, aheadMillis: 0 });
  expect(issuer.errorMillis()).toBeLessThan(6);

  ask(issuer, clock, { thereMillis: 1, backMillis: 1, aheadMillis: 0 });
  expect(issuer.errorMillis()).toBe(1);
});

it("grows less sure with time, so that a slower answer is better than an old one", () => {
  const clock = fakeClock(start);
  const issuer = issuerClock(clock);
  ask(issuer, clock, { thereMillis: 1, backMillis: 1, aheadMillis: 0 });
  clock.advanceSeconds(1_000);
  expect(issuer.errorMillis()).toBeCloseTo(201);

  ask(issuer, clock, { thereMillis: 100, backMillis: 0, aheadMillis: 0 });
  expect(issuer.errorMillis()).toBe(50);
});

it("believes a newer answer that contradicts what it knew: the issuer's clock was set", () => {
  for (const aheadMillis of [60_000, -60_000]) {
    const clock = fakeClock(start);
    const issuer = issuerClock(clock);
    ask(issuer, clock, { thereMillis: 1, backMillis: 1, aheadMillis: 0 });
    ask(issuer, clock, { thereMillis: 500, backMillis: 500, aheadMillis });

    expect(issuer.nowMillis()).toBe(Math.floor(clock.nowSeconds() * 1_000) + aheadMillis);
  }
});

it("goes at half its speed for an audience, where the issuer's clock was set back, until that has caught up", () => {
  const clock = fakeClock(start);
  const issuer = issuerClock(clock);
  ask(issuer, clock, { thereMillis: 1, backMillis: 1, aheadMillis: 0 });
  const before = issuer.steadyMillis();
  ask(issuer, clock, { thereMillis: 1, backMillis: 1, aheadMillis: -10_000 });
  expect(issuer.steadyMillis()).toBe(before + 1);
  for (let second = 1; second <= 19; second += 1) {
    clock.advanceSeconds(1);
    expect(issuer.steadyMillis()).toBe(before + 1 + second * 500);
  }
  clock.advanceSeconds(2);
  expect(issuer.steadyMillis()).toBe(issuer.nowMillis());
});

it("binds an audience to no time of the machine's that nobody has confirmed", () => {
  const clock = fakeClock(start + 600);
  const issuer = issuerClock(clock);
  expect(issuer.steadyMillis()).toBe((start + 600) * 1_000);
  ask(issuer, clock, { thereMillis: 1, backMillis: 1, aheadMillis: -600_000 });

  expect(issuer.steadyMillis()).toBe(start * 1_000 + 2);
});

it("takes no answer that came before its question, and no time that is no number", () => {
  const clock = fakeClock(start);
  const issuer = issuerClock(clock);
  issuer.observe({ sentMillis: 10, receivedMillis: 5, issuerMillis: 1 });
  issuer.observe({ sentMillis: 0, receivedMillis: 5, issuerMillis: Number.NaN });
  issuer.set(Number.NaN);

  expect(issuer.nowMillis()).toBe(start * 1_000);
});

it("believes somebody's word, and the next answer more", () => {
  const clock = fakeClock(start);
  const issuer = issuerClock(clock);
  ask(issuer, clock, { thereMillis: 1, backMillis: 1, aheadMillis: 0 });
  issuer.set(5_000);
  expect(issuer.nowMillis()).toBe(5_000);
  ask(issuer, clock, { thereMillis: 500, backMillis: 500, aheadMillis: 0 });

  expect(issuer.nowMillis()).toBe(Math.floor(clock.nowSeconds() * 1_000));
});

interface Asked {
  readonly thereMillis: number;
  readonly backMillis: number;
  /** How far the issuer's clock is ahead of this machine's. */
  readonly aheadMillis: number;
}

function ask(issuer: IssuerClock, clock: FakeClock, { thereMillis, backMillis, aheadMillis }: Asked): void {
  const sentMillis = clock.monotonicMillis();
  clock.advanceSeconds(thereMillis / 1_000);
  const issuerMillis = clock.nowSeconds() * 1_000 + aheadMillis;
  clock.advanceSeconds(backMillis / 1_000);
  issuer.observe({ sentMillis, receivedMillis: clock.monotonicMillis(), issuerMillis });
}
