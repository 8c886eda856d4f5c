import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { type FakeClock, fakeClock } from "../../../test/fakes/fake-clock.ts";
import { Balancer, type BalancerPolicy, Member } from "./balancer.ts";
import type { OutlierPolicy } from "./standing.ts";

interface FakeLink {
  readonly name: number;
  load: number;
}

const outliers: OutlierPolicy = {
  consecutiveFailures: 3,
  ejectSeconds: 10,
  ejectSecondsMax: 60,
  ejectPercentMax: 50,
};

class Service {
  readonly clock: FakeClock = fakeClock();
  readonly zones = { same: 0, other: 0 };
  readonly links: readonly FakeLink[];
  readonly members: readonly Member<FakeLink>[];
  readonly balancer: Balancer<FakeLink>;
  readonly events: string[] = [];

  constructor(count: number, policy: BalancerPolicy = {}, nearCount?: number) {
    const random = seededRandom();
    const { clock, zones } = this;
    this.links = Array.from({ length: count }, (_, name) => ({ name, load: 0 }));
    this.members = this.links.map((link) => new Member(link));
    if (nearCount !== undefined)
      for (const member of this.members) member.isNear = member.link.name < nearCount;
    const observer = {
      onEjected: ({ link, standing }: Member<FakeLink>) =>
        this.events.push(`${link.name} ${standing.reason}`),
      onReturned: ({ link }: Member<FakeLink>) => this.events.push(`${link.name} back`),
    };
    this.balancer = new Balancer({ clock, random, zones, observer });
    this.balancer.setMembers(this.members, nearCount !== undefined);
    this.balancer.setPolicy(policy);
  }

  link(name: number): FakeLink {
    const link = this.links[name];
    if (link === undefined) throw new Error(`no link ${name}`);
    return link;
  }

  fail(name: number, times = 3): void {
    for (let count = 0; count < times; count += 1)
      this.balancer.ended(this.link(name), this.balancer.sent(), "503");
  }

  /** How many of so many requests, each over before the next, each instance gets. */
  shares(requests = 1000, answer: (name: number) => void = () => {}): number[] {
    const counts = this.links.map(() => 0);
    for (let count = 0; count < requests; count += 1) {
      const picked = this.balancer.pick([]);
      if (typeof picked !== "object") throw new Error(`picked ${picked}`);
      counts[picked.name] = (counts[picked.name] ?? 0) + 1;
      answer(picked.name);
    }
    return counts;
  }

  out(): number[] {
    return this.members.filter(({ standing }) => standing.state !== "in").map(({ link }) => link.name);
  }
}

describe("outliers", () => {
  it("are asked nothing while they are out", () => {
    const service = new Service(4, { outliers });

    service.fail(2);

    expect(service.events).toEqual(["2 503"]);
    expect(service.shares()[2]).toBe(0);
  });

  it("are not put out without a policy", () => {
    const service = new Service(4);

    service.fail(2, 100);

    expect(service.events).toEqual([]);
    expect(service.shares()[2]).toBeGreaterThan(150);
  });

  test.each([
    [10, 10, 1],
    [10, 30, 3],
    [10, 100, 9],
    [4, 10, 1],
    [3, 50, 1],
    [2, 100, 1],
    [1, 100, 0],
  ])(
    "of %i instances no more than %i %% are put out, one at least, and never the last: %i",
    (count, ejectPercentMax, out) => {
      const service = new Service(count, { outliers: { ...outliers, ejectPercentMax } });

      for (let name = 0; name < count; name += 1) service.fail(name, 10);

      expect(service.out()).toHaveLength(out);
    },
  );

  it("are not put out where all others cannot be reached", () => {
    const service = new Service(2, { outliers });
    service.balancer.avoid(service.link(0));

    service.fail(1);

    expect(service.out()).toEqual([]);
  });

  it("are put out for connections that cannot be opened", () => {
    const service = new Service(4, { outliers });

    for (let count = 0; count < 3; count += 1) service.balancer.unreachable(service.link(1));

    expect(service.events).toEqual(["1 connect-failed"]);
  });

  it("come back one request at a time, and wholly after five that went well", () => {
    const service = new Service(2, { outliers });
    service.fail(0);
    service.clock.advanceSeconds(10);

    const during = service.shares(100)[0];
    for (let count = 0; count < 5; count += 1)
      service.balancer.ended(service.link(0), service.balancer.sent(), undefined);

    expect(during).toBe(1);
    expect(service.events).toEqual(["0 503", "0 back"]);
    expect(service.shares()[0]).toBeGreaterThan(400);
  });

  it("that fail on probation are out again for twice as long", () => {
    const service = new Service(2, { outliers });
    service.fail(0);
    service.clock.advanceSeconds(10);
    service.shares(10);
    service.fail(0, 1);

    service.clock.advanceSeconds(19.9);
    const before = service.shares(100)[0];
    service.clock.advanceSeconds(0.2);

    expect([before, service.shares(100)[0]]).toEqual([0, 1]);
  });

  it("are used as well where less than half of all is in, but those that cannot be reached are not", () => {
    const service = new Service(10, { outliers: { ...outliers, ejectPercentMax: 100 } });
    for (const name of [0, 1, 2, 3, 4]) service.fail(name);
    const half = service.shares();
    service.balancer.avoid(service.link(9));

    const panic = service.shares();

    expect(half.slice(0, 5)).toEqual([0, 0, 0, 0, 0]);
    expect(Math.min(...panic.slice(0, 9))).toBeGreaterThan(50);
    expect(panic[9]).toBe(0);
  });

  it("are forgiven when there is no policy any more", () => {
    const service = new Service(4, { outliers });
    service.fail(2);

    service.balancer.setPolicy({});

    expect(service.shares()[2]).toBeGreaterThan(150);
  });

  it("never take the last instance, whatever fails when", () => {
    const step = fc.oneof(
      fc.record({ fail: fc.nat({ max: 5 }), times: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ well: fc.nat({ max: 5 }) }),
      fc.record({ avoid: fc.nat({ max: 5 }) }),
      fc.record({ seconds: fc.integer({ min: 1, max: 70 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 100 }), (steps, percent) => {
        const service = new Service(6, { outliers: { ...outliers, ejectPercentMax: percent } });
        for (const one of steps) {
          if ("fail" in one) service.fail(one.fail, one.times);
          else if ("well" in one)
            service.balancer.ended(service.link(one.well), service.balancer.sent(), undefined);
          else if ("avoid" in one) service.balancer.avoid(service.link(one.avoid));
          else service.clock.advanceSeconds(one.seconds);
          expect(service.balancer.pick([])).toBeTypeOf("object");
          expect(service.out().length).toBeLessThanOrEqual(
            Math.min(5, Math.max(1, Math.floor(0.06 * percent))),
          );
        }
      }),
    );
  });
});

describe("slow instances", () => {
  it("are put out where ten answers in a row take far longer than nine of ten of the others'", () => {
    const service = new Service(10, { outliers });

    serve(service, (name) => (name === 3 ? 100 : 10), 60_000);

    expect(service.events[0]).toBe("3 slow");
    expect(service.events.filter((event) => !event.startsWith("3"))).toEqual([]);
  });

  it("are not put out where all have become slow", () => {
    const service = new Service(10, { outliers });
    serve(service, () => 10, 5_000);

    serve(service, () => 500, 60_000);

    expect(service.events).toEqual([]);
  });

  it("are not put out for a tenth of requests that are slow everywhere", () => {
    const service = new Service(10, { outliers });
    const random = seededRandom(11);

    serve(service, () => (random() < 0.1 ? 300 : 10), 120_000);

    expect(service.events).toEqual([]);
  });

  test.each([
    [20, []],
    [22, ["0 slow"]],
  ])("are put out only for 20 ms more than the others: %i ms beside 1 ms", (millis, events) => {
    const service = new Service(2, { outliers });
    const answer = (name: number, afterMillis: number): void => {
      const sent = service.balancer.sent();
      service.clock.advanceSeconds(afterMillis / 1000);
      service.balancer.heard(service.link(name), sent);
    };
    for (let count = 0; count < 20; count += 1) answer(1, 1);

    for (let count = 0; count < 10; count += 1) answer(0, millis);

    expect(service.events).toEqual(events);
  });

  it("are put out also where callers do not wait for the answer", () => {
    const service = new Service(4, { outliers });
    serve(service, () => 10, 2_000);

    const sent = service.balancer.sent();
    service.clock.advanceSeconds(1);
    for (let count = 0; count < 10; count += 1) service.balancer.abandoned(service.link(0), sent);

    expect(service.events).toEqual(["0 slow"]);
  });

  it("are put out also where there is but one other", () => {
    const service = new Service(2, { outliers });

    serve(service, (name) => (name === 0 ? 100 : 10), 60_000);

    expect(service.events[0]).toBe("0 slow");
  });

  test.each([
    ["few answers of others are known", 9, 0],
    ["what is known of others is old", 20, 31],
  ])("are not put out where %s", (_, answers, seconds) => {
    const service = new Service(2, { outliers });
    for (let count = 0; count < answers; count += 1)
      service.balancer.heard(service.link(1), service.balancer.sent());
    service.clock.advanceSeconds(seconds);

    const sent = service.balancer.sent();
    service.clock.advanceSeconds(1);
    for (let count = 0; count < 10; count += 1) service.balancer.abandoned(service.link(0), sent);

    expect(service.events).toEqual([]);
  });

  it("come back once they are fast", () => {
    const service = new Service(10, { outliers });
    serve(service, (name) => (name === 3 ? 100 : 10), 60_000);

    service.clock.advanceSeconds(60);
    serve(service, () => 10, 10_000);

    expect(service.events.at(-1)).toBe("3 back");
  });
});

describe("requests in flight", () => {
  it("are fewer than the most at every instance, and then there is no room", () => {
    const service = new Service(3, { inFlightMax: 4 });
    const picked: unknown[] = [];

    for (let count = 0; count < 13; count += 1) {
      const link = service.balancer.pick([]);
      if (typeof link === "object") link.load += 1;
      picked.push(link);
    }

    expect(service.links.map(({ load }) => load)).toEqual([4, 4, 4]);
    expect(picked.indexOf("overloaded")).toBe(12);
  });

  it("are bounded at the only instance too", () => {
    const service = new Service(1, { inFlightMax: 1 });
    const first = service.balancer.pick([]);
    service.link(0).load = 1;

    expect([first, service.balancer.pick([])]).toEqual([service.link(0), "overloaded"]);
  });

  it("do not overflow into an instance that is out", () => {
    const service = new Service(3, { inFlightMax: 1, outliers });
    service.fail(0);
    for (const link of service.links.slice(1)) link.load = 1;

    expect(service.balancer.pick([])).toBe("overloaded");
  });

  it("do not wait for room where it was tried", () => {
    const service = new Service(2, { inFlightMax: 1 });
    service.link(1).load = 1;

    expect(service.balancer.pick([service.link(0)])).toBe("overloaded");
  });
});

describe("zones", () => {
  test.each([
    [0, 1],
    [2, 1],
    [3, 0.98],
    [5, 0.7],
    [9, 0.14],
    [10, 0],
  ])("keep their requests while they are well: of 10 instances %i out leave a share of %f", (out, share) => {
    const policy = { outliers: { ...outliers, ejectPercentMax: 50 } };
    const service = new Service(20, policy, 10);
    for (let name = 0; name < out; name += 1) service.fail(name);

    const requests = 10_000;
    const near = service
      .shares(requests)
      .slice(0, 10)
      .reduce((sum, count) => sum + count, 0);

    expect(near / requests).toBeCloseTo(share, 1);
    expect(service.zones).toEqual({ same: near, other: requests - near });
  });

  it("get them back by themselves", () => {
    const service = new Service(4, { outliers }, 2);
    service.fail(0);
    service.fail(1);
    const away = service.shares(100);
    service.clock.advanceSeconds(10);

    const during = service.shares(100, (name) =>
      service.balancer.ended(service.link(name), service.balancer.sent(), undefined),
    );

    expect(away.slice(0, 2)).toEqual([0, 0]);
    expect(during.slice(2)).toEqual([0, 0]);
    expect(service.events.slice(2).toSorted()).toEqual(["0 back", "1 back"]);
    expect(service.shares(100).slice(2)).toEqual([0, 0]);
  });

  it("send what has no room at home elsewhere", () => {
    const service = new Service(4, { inFlightMax: 1 }, 2);
    for (const link of service.links.slice(0, 2)) link.load = 1;

    expect(service.shares(100).slice(0, 2)).toEqual([0, 0]);
  });

  it("send everything elsewhere where nothing is at home", () => {
    expect(new Service(2, {}, 0).shares(100)).toHaveLength(2);
  });
});

describe("instances that could not be reached", () => {
  it("are left alone for two seconds while others can be", () => {
    const service = new Service(3);
    service.balancer.avoid(service.link(0));
    const soon = service.shares()[0];

    service.clock.advanceSeconds(2);

    expect(soon).toBe(0);
    expect(service.shares()[0]).toBeGreaterThan(200);
  });

  it("are tried where nothing else is left, the one first for which it is longest ago", () => {
    const service = new Service(3);
    for (const name of [1, 0, 2]) {
      service.balancer.avoid(service.link(name));
      service.clock.advanceSeconds(0.1);
    }

    const first = service.balancer.pick([]);
    const second = service.balancer.pick([service.link(1)]);

    expect([first, second]).toEqual([service.link(1), service.link(0)]);
    expect(service.balancer.pick(service.links)).toBeUndefined();
  });
});

it("would rather try again what could not be reached than what is out", () => {
  const service = new Service(4, { outliers });
  service.fail(0);
  service.balancer.avoid(service.link(1));

  expect(service.balancer.pick([service.link(2), service.link(3)])).toBe(service.link(1));
});

it("takes one of several that know nothing of each other by what they have to do", () => {
  const service = new Service(2);
  service.link(0).load = 1;

  expect(service.shares(100)).toEqual([0, 100]);
});

/** Sends a request every 5 ms, each answered after as long as its instance takes. */
function serve(service: Service, millisOf: (name: number) => number, forMillis: number): void {
  const answers: { atMillis: number; link: FakeLink; sent: number }[] = [];
  const { clock, balancer } = service;
  const end = clock.monotonicMillis() + forMillis;
  while (clock.monotonicMillis() < end) {
    const now = clock.monotonicMillis();
    for (const answer of answers.filter(({ atMillis }) => atMillis <= now)) {
      answers.splice(answers.indexOf(answer), 1);
      answer.link.load -= 1;
      balancer.heard(answer.link, answer.sent);
      balancer.ended(answer.link, answer.sent, undefined);
    }
    const link = balancer.pick([]);
    if (typeof link !== "object") throw new Error(`picked ${link}`);
    link.load += 1;
    answers.push({ atMillis: now + millisOf(link.name), link, sent: balancer.sent() });
    clock.advanceSeconds(0.005);
  }
}

/** The same numbers in every run. */
function seededRandom(seed = 7): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

describe("instances that are degraded", () => {
  it("get one of fifty requests together while there are others, and none is refused for that", () => {
    const service = new Service(4);
    for (const name of [0, 1]) Object.assign(service.members[name] ?? {}, { isDegraded: true });
    service.balancer.setMembers(service.members, false);

    const [zero = 0, one = 0] = service.shares(10_000);

    expect(zero + one).toBeGreaterThan(100);
    expect(zero + one).toBeLessThan(300);
  });

  it("get all where there are no others, where the others are full, and where the others were tried", () => {
    const service = new Service(2, { inFlightMax: 1 });
    Object.assign(service.members[0] ?? {}, { isDegraded: true });
    service.balancer.setMembers(service.members, false);

    const tried = service.balancer.pick([service.link(1)]);
    service.link(1).load = 1;
    const full = service.balancer.pick([]);
    Object.assign(service.members[1] ?? {}, { isDegraded: true });
    service.link(1).load = 0;
    service.balancer.setMembers(service.members, false);

    expect([tried, full]).toEqual([service.link(0), service.link(0)]);
    expect(service.shares().every((count) => count > 300)).toBe(true);
  });

  it("do not hold a caller's zone back: the other zone takes what they would have had", () => {
    const service = new Service(4, {}, 2);
    for (const name of [0, 1]) Object.assign(service.members[name] ?? {}, { isDegraded: true });
    service.balancer.setMembers(service.members, true);

    const [zero = 0, one = 0] = service.shares();

    expect(zero + one).toBeLessThan(60);
  });
});
