import fc from "fast-check";
import { expect, it } from "vitest";
import {
  type JudgedInstance,
  type OwnReport,
  StandingDecider,
  standingThresholds,
} from "./decide-standings.ts";

const fine: OwnReport = { isHealthy: true, requests: 100, errors: 0, p90Millis: 10 };
const good = { requests: 100, failures: 0, node: "edge-1" };
const bad = { requests: 100, failures: 95, node: "edge-1" };
const elsewhere = { ...good, node: "edge-2" };
const badElsewhere = { ...bad, node: "edge-2" };
const poor = { requests: 100, failures: 60, node: "edge-1" };

/** Four instances of a service that serve, and what is otherwise of some of them. */
function shop(changes: Readonly<Record<number, Partial<JudgedInstance>>> = {}, count = 4): JudgedInstance[] {
  return Array.from({ length: count }, (_, place) => ({
    instance: `i${place}`,
    service: "/shop",
    node: "edge-1",
    standing: "serving",
    decision: 0,
    isPeoples: false,
    own: fine,
    callers: [good, good, good],
    cvssTenths: 0,
    ...changes[place],
  }));
}

/** All of whatever is asked are in the log. */
const all = { has: () => true };

/** Looks once a second at what does not change, as long as nothing is decided; when, and what. */
function firstDecision(
  instances: readonly JudgedInstance[],
  secondsMax = 200,
): { readonly seconds: number; readonly made: string[]; readonly withheld: string[] } {
  const decider = new StandingDecider();
  const withheld = new Set<string>();
  for (let seconds = 0; seconds <= secondsMax; seconds += 1) {
    const looked = decider.decide(instances, seconds * 1000, all);
    for (const one of looked.withheld)
      withheld.add(`${one.instance} ${one.standing} ${one.reason} ${one.why}`);
    const made = looked.made.map(({ instance, standing, reason }) => `${instance} ${standing} ${reason}`);
    if (made.length > 0) return { seconds, made, withheld: [...withheld] };
  }
  return { seconds: secondsMax, made: [], withheld: [...withheld] };
}

it.each<readonly [string, Partial<JudgedInstance>, string, number]>([
  ["most requests fail", { callers: [poor, poor, poor] }, "i0 degraded failing", 5],
  ["the health check fails", { own: { ...fine, isHealthy: false } }, "i0 degraded unhealthy", 20],
  ["it is five times as slow", { own: { ...fine, p90Millis: 120 } }, "i0 degraded slow", 20],
  ["it has a bad vulnerability", { cvssTenths: 75 }, "i0 degraded vulnerable", 0],
  ["it has a very bad vulnerability", { cvssTenths: 98 }, "i0 quarantined vulnerable", 0],
  [
    "nearly all fail by the account of two nodes, after it was degraded",
    { standing: "degraded", decision: 7, callers: [bad, badElsewhere] },
    "i0 quarantined failing",
    30,
  ],
  [
    "nearly all fail by the account of callers on one node and by its own",
    { standing: "degraded", decision: 7, callers: [bad, bad], own: { ...fine, errors: 95 } },
    "i0 quarantined failing",
    30,
  ],
  [
    "the few requests that a degraded one gets fail",
    {
      standing: "degraded",
      decision: 7,
      callers: [{ ...bad, requests: 5, failures: 5 }],
      own: { ...fine, requests: 5, errors: 5 },
    },
    "i0 quarantined failing",
    30,
  ],
  [
    "nobody has called it and it says itself that it fails",
    { callers: [], own: { ...fine, errors: 95 } },
    "i0 degraded failing",
    5,
  ],
])("where %s: %j is %s after %i s", (_, change, made, seconds) => {
  expect(firstDecision(shop({ 0: change }))).toEqual({ seconds, made: [made], withheld: [] });
});

it.each<readonly [string, Readonly<Record<number, Partial<JudgedInstance>>>]>([
  ["all is well", {}],
  ["one caller of three says that all fails", { 0: { callers: [good, bad, good] } }],
  ["one caller of two says that all fails", { 0: { callers: [bad, good] } }],
  [
    "an agent makes up ten callers that all say so, and those of two other nodes do not",
    { 0: { callers: [...Array.from({ length: 10 }, () => ({ ...bad, node: "evil" })), good, elsewhere] } },
  ],
  [
    "a caller has sent too few requests",
    { 0: { callers: [{ requests: 19, failures: 19, node: "edge-1" }] } },
  ],
  [
    "it says itself that all fails, and its callers do not",
    { 0: { callers: [good], own: { ...fine, errors: 100 } } },
  ],
  [
    "all fail alike, as where what they depend on is gone",
    { 0: failing(), 1: failing(), 2: failing(), 3: failing() },
  ],
  ["all are slow", { 0: slow(), 1: slow(), 2: slow(), 3: slow() }],
  [
    "it is degraded, and nearly all fail by the account of callers on one node alone",
    { 0: { standing: "degraded", decision: 7, callers: [bad, bad, bad] } },
  ],
  [
    "it is degraded, and one node of two says that nearly all fail",
    { 0: { standing: "degraded", decision: 7, callers: [badElsewhere, poor], own: { ...fine, errors: 95 } } },
  ],
  [
    "it is degraded, callers on one node say that nearly all fail, and its own proxy has seen too little",
    {
      0: {
        standing: "degraded",
        decision: 7,
        callers: [bad, bad],
        own: { ...fine, requests: 4, errors: 4 },
      },
    },
  ],
  ["nobody has heard of it for long", { 0: { own: undefined, callers: [] } }],
  ["it is degraded by people, and well", { 0: { standing: "degraded", decision: 3, isPeoples: true } }],
])("decides nothing where %s", (_, changes) => {
  expect(firstDecision(shop(changes))).toEqual({ seconds: 200, made: [], withheld: [] });
});

function failing(): Partial<JudgedInstance> {
  return { callers: [bad, bad] };
}

function slow(): Partial<JudgedInstance> {
  return { own: { ...fine, p90Millis: 900 } };
}

it("does not let what comes and goes count as if it lasted", () => {
  const decider = new StandingDecider();
  for (let seconds = 0; seconds < 100; seconds += 1) {
    const callers = seconds % 4 === 3 ? [good] : [bad];
    expect(decider.decide(shop({ 0: { callers } }), seconds * 1000, all).made).toEqual([]);
  }
});

it("degrades what changes its mind about its health again and again", () => {
  const decider = new StandingDecider();
  const made: string[] = [];
  for (let seconds = 0; seconds < 60 && made.length === 0; seconds += 5) {
    const own = { ...fine, isHealthy: seconds % 10 === 0 };
    for (const one of decider.decide(shop({ 0: { own } }), seconds * 1000, all).made) made.push(one.reason);
  }

  expect(made).toEqual(["flapping"]);
});

it("takes a decision back once the cause has gone for long enough, and waits twice as long the next time", () => {
  const decider = new StandingDecider();
  let now = 0;
  let standing: JudgedInstance["standing"] = "serving";
  const after = (callers: JudgedInstance["callers"]): number => {
    for (let seconds = 0; seconds < 1_000; seconds += 1) {
      now += 1_000;
      const [made] = decider.decide(shop({ 0: { callers, standing, decision: 5 } }), now, all).made;
      if (made === undefined) continue;
      ({ standing } = made);
      expect(made.decision).toBe(5);
      return seconds;
    }
    return -1;
  };

  const seconds = [after([poor]), after([good]), after([poor]), after([good])];

  expect(seconds).toEqual([5, 30, 5, 60]);
});

it("does not take back what is neither bad nor well", () => {
  const half = { requests: 100, failures: 20, node: "edge-1" };

  expect(firstDecision(shop({ 0: { standing: "degraded", decision: 4, callers: [half] } })).made).toEqual([]);
});

it("leaves most of a service serving, whatever a feed says of all of it, and says what it has not done", () => {
  const changes = Object.fromEntries([0, 1, 2, 3].map((place) => [place, { cvssTenths: 100 }]));
  const decider = new StandingDecider();
  const standings = new Map<string, JudgedInstance["standing"]>();
  const withheld = new Set<string>();
  for (let seconds = 0; seconds < 100; seconds += 1) {
    const now = shop(changes).map((one) => ({
      ...one,
      standing: standings.get(one.instance) ?? one.standing,
    }));
    const looked = decider.decide(now, seconds * 1000, all);
    for (const { instance, standing } of looked.made) standings.set(instance, standing);
    for (const { instance, why } of looked.withheld) withheld.add(`${instance} ${why}`);
  }

  expect(Object.fromEntries(standings)).toEqual({ i0: "quarantined", i1: "degraded" });
  expect([...withheld].filter((one) => one.endsWith("share-limit"))).toEqual([
    "i1 share-limit",
    "i2 share-limit",
    "i3 share-limit",
  ]);
});

it.each([
  [1, {}],
  [2, { i0: "degraded" }],
])("of %i instances, all vulnerable, quarantines none", (count, expected) => {
  const changes = Object.fromEntries([0, 1].map((place) => [place, { cvssTenths: 100 }]));

  const made = firstDecision(shop(changes, count), 20).made.map((one) => one.split(" ").slice(0, 2));

  expect(Object.fromEntries(made)).toEqual(expected);
});

it("decides against one instance of a service at a time, and against so many of all a minute", () => {
  const { decisionsPerMinuteMax, serviceSecondsMin } = standingThresholds;
  const many = Array.from({ length: 100 }, (_, place) =>
    shop({ 0: { cvssTenths: 75 } }).map((one) => ({
      ...one,
      service: `/s${place}`,
      instance: `${place} ${one.instance}`,
      node: `edge-${place}`,
    })),
  ).flat();
  const decider = new StandingDecider();

  const first = decider.decide(many, 0, all);
  const two = shop({ 0: { cvssTenths: 75 }, 1: { cvssTenths: 75 } });
  const small = new StandingDecider();
  const ofTwo = [
    small.decide(two, 0, all),
    small.decide(shop({ 1: { cvssTenths: 75 } }), serviceSecondsMin * 1000, all),
  ];

  expect(first.made.length).toBe(decisionsPerMinuteMax);
  expect(first.withheld.every(({ why }) => why === "rate-limit")).toBe(true);
  expect(ofTwo.map(({ made }) => made.map(({ instance }) => instance))).toEqual([["i0"], ["i1"]]);
});

it("leaves decisions for the instances of other nodes, whatever those of one do", () => {
  const { nodeDecisionsPerMinuteMax } = standingThresholds;
  const looked = Array.from({ length: 20 }, (_, place) =>
    shop({ 0: { cvssTenths: 75 } }).map((one) => ({
      ...one,
      service: `/s${place}`,
      instance: `${place} ${one.instance}`,
      node: place === 19 ? "edge-2" : "edge-1",
    })),
  ).flat();
  const decider = new StandingDecider();

  const made = decider.decide(looked, 0, all).made.map(({ instance }) => instance);

  expect(made.slice(0, -1)).toEqual(
    Array.from({ length: nodeDecisionsPerMinuteMax }, (_, place) => `${place} i0`),
  );
  expect(made.at(-1)).toBe("19 i0");
  expect(decider.decide(looked, 59_000, all).made.map(({ instance }) => instance)).toEqual(["19 i0"]);
  expect(decider.decide(looked, 60_000, all).made.length).toBe(nodeDecisionsPerMinuteMax);
});

it("goes on where it was with an instance that says at times that it serves nowhere", () => {
  const decider = new StandingDecider();
  const others = shop().slice(1);
  const decisions: number[] = [];
  for (let seconds = 0; seconds < 30; seconds += 1) {
    const members = seconds % 4 === 3 ? others : shop({ 0: { callers: [poor] } });
    if (decider.decide(members, seconds * 1000, all).made.length > 0) decisions.push(seconds);
    if (decisions.length > 0) break;
  }

  expect(decisions).toEqual([5]);
});

it("does not count what it had seen before an instance served nowhere for long", () => {
  const { untoldSecondsMax } = standingThresholds;
  const decider = new StandingDecider();
  const failing = shop({ 0: { callers: [poor] } });
  decider.decide(failing, 0, all);
  for (let seconds = 1; seconds <= untoldSecondsMax + 1; seconds += 1)
    decider.decide(shop().slice(1), seconds * 1000, all);

  expect(decider.decide(failing, (untoldSecondsMax + 2) * 1000, all).made).toEqual([]);
});

it.each([
  [60, "is in the log all the time", all],
  [30, "has gone from the log meanwhile", { has: () => false }],
])("takes a second decision back after %i s where the instance %s", (seconds, _, registered) => {
  const decider = new StandingDecider();
  const others = shop().slice(1);
  let now = 0;
  const until = (change: Partial<JudgedInstance>): number => {
    for (let waited = 0; waited < 200; waited += 1) {
      now += 1_000;
      if (decider.decide(shop({ 0: change }), now, all).made.length > 0) return waited;
    }
    return -1;
  };
  const degraded = { standing: "degraded", decision: 5 } as const;
  until({ callers: [poor] });
  until(degraded);
  for (let look = 0; look < 30; look += 1) decider.decide(others, (now += 1_000), registered);
  until({ callers: [poor] });

  expect(until(degraded)).toBe(seconds);
});

it("never leaves less than half of a service serving by its own doing, whatever is reported", () => {
  const anyCaller = fc.record({
    requests: fc.constant(100),
    failures: fc.integer({ min: 0, max: 100 }),
    node: fc.constantFrom("a", "b"),
  });
  const anyReport = fc.record({
    own: fc.option(
      fc.record({
        isHealthy: fc.boolean(),
        requests: fc.integer({ min: 0, max: 100 }),
        errors: fc.integer({ min: 0, max: 100 }),
        p90Millis: fc.integer({ min: 0, max: 10_000 }),
      }),
      { nil: undefined },
    ),
    callers: fc.array(anyCaller, { maxLength: 3 }),
    cvssTenths: fc.integer({ min: 0, max: 100 }),
  });
  const anyService = fc
    .integer({ min: 1, max: 7 })
    .chain((count) =>
      fc.array(fc.array(anyReport, { minLength: count, maxLength: count }), { minLength: 1, maxLength: 30 }),
    );
  fc.assert(
    fc.property(anyService, (looks) => {
      const decider = new StandingDecider();
      const standings = new Map<string, JudgedInstance["standing"]>();
      for (const [look, reports] of looks.entries()) {
        const members = shop(Object.fromEntries(reports.entries()), reports.length);
        const now = members.map((one) => ({ ...one, standing: standings.get(one.instance) ?? one.standing }));
        // Ten seconds at a time, so that what lasts has an effect.
        const { made } = decider.decide(now, look * 10_000, all);
        for (const { instance, standing } of made) standings.set(instance, standing);
        const out = [...standings.values()].filter((standing) => standing !== "serving");
        const cut = out.filter((standing) => standing === "quarantined");
        expect(out.length).toBeLessThanOrEqual(Math.floor(reports.length / 2));
        expect(cut.length).toBeLessThanOrEqual(Math.floor((reports.length * 334) / 1000));
      }
    }),
    { numRuns: 200 },
  );
});

it("is not taken for mended while too few have called it to tell, but does not wait for ever", () => {
  const failing = { ...bad, requests: 5, failures: 5 };
  const degraded = { standing: "degraded", decision: 7, own: { ...fine, requests: 0 } } as const;
  const failingElsewhere = { ...failing, node: "edge-2" };
  const decisionAfter = (untoldSeconds: number): number | undefined => {
    const decider = new StandingDecider();
    for (let seconds = 0; seconds <= 40; seconds += 1) {
      const isTold = seconds < 10 || seconds >= 10 + untoldSeconds;
      const callers = isTold ? [failing, failingElsewhere] : [failing];
      const { made } = decider.decide(shop({ 0: { ...degraded, callers } }), seconds * 1000, all);
      if (made.some(({ standing }) => standing === "quarantined")) return seconds;
    }
    return undefined;
  };

  expect(decisionAfter(standingThresholds.untoldSecondsMax)).toBe(30);
  expect(decisionAfter(standingThresholds.untoldSecondsMax + 1)).toBe(undefined);
});
