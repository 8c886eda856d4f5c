import { expect, it } from "vitest";
import { type FakeClock, fakeClock } from "../../../test/fakes/fake-clock.ts";
import { Balancer, Member } from "./balancer.ts";

// Ten instances, one of which takes ten times as long as the others, under 200 requests a second.

const requests = 10_000;
const requestsPerSecond = 200;
const usualMillis = 10;
const slowMillis = 100;

interface FakeLink {
  readonly millis: number;
  load: number;
}

interface Measured {
  /** Percent of the requests that the slow instance got. */
  readonly slowPercent: number;
  readonly millisP99: number;
}

it("asks a slow instance seldom by requests in flight alone, and hardly ever by what answers take", () => {
  const byLoad = simulate(false);
  const byBoth = simulate(true);

  expect(byLoad.slowPercent).toBeGreaterThan(4);
  expect(byLoad.millisP99).toBeGreaterThan(100);
  expect(byBoth.slowPercent).toBeLessThan(0.4);
  expect(byBoth.millisP99).toBeLessThan(15);
});

/** Requests come at random, and each takes 30 % more or less than is usual for its instance. */
function simulate(isMeasured: boolean): Measured {
  const random = seededRandom();
  const clock = fakeClock();
  const slow: FakeLink = { millis: slowMillis, load: 0 };
  const links = [slow, ...Array.from({ length: 9 }, () => ({ millis: usualMillis, load: 0 }))];
  const observer = { onEjected: () => {}, onReturned: () => {} };
  const balancer = new Balancer<FakeLink>({ clock, random, zones: { same: 0, other: 0 }, observer });
  balancer.setMembers(
    links.map((link) => new Member(link)),
    false,
  );
  const events = new Events(clock);
  const millis: number[] = [];
  let slowRequests = 0;
  let left = requests;
  const send = (): void => {
    left -= 1;
    if (left > 0) events.after((-Math.log(1 - random()) * 1000) / requestsPerSecond, send);
    const link = balancer.pick([]);
    if (typeof link !== "object") throw new Error(`picked ${link}`);
    if (link === slow) slowRequests += 1;
    link.load += 1;
    const sent = balancer.sent();
    events.after(link.millis * (0.7 + 0.6 * random()), () => {
      link.load -= 1;
      millis.push(clock.monotonicMillis() - sent);
      if (isMeasured) balancer.heard(link, sent);
    });
  };
  send();
  events.run();
  const sorted = millis.toSorted((left, right) => left - right);
  return {
    slowPercent: (slowRequests / requests) * 100,
    millisP99: sorted[Math.floor(requests * 0.99)] ?? 0,
  };
}

/** What happens, in its order. */
class Events {
  readonly #clock: FakeClock;
  readonly #waiting: { readonly atMillis: number; readonly happen: () => void }[] = [];

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  after(millis: number, happen: () => void): void {
    const atMillis = this.#clock.monotonicMillis() + millis;
    let index = this.#waiting.length;
    while (index > 0 && (this.#waiting[index - 1]?.atMillis ?? 0) < atMillis) index -= 1;
    this.#waiting.splice(index, 0, { atMillis, happen });
  }

  run(): void {
    for (let next = this.#waiting.pop(); next !== undefined; next = this.#waiting.pop()) {
      this.#clock.advanceSeconds((next.atMillis - this.#clock.monotonicMillis()) / 1000);
      next.happen();
    }
  }
}

/** The same numbers in every run. */
function seededRandom(): () => number {
  let state = 7;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
