import { create } from "@bufbuild/protobuf";
import { beforeEach, expect, it } from "vitest";
import { type FakeClock, fakeClock } from "../../test/fakes/fake-clock.ts";
import { FollowerStatusSchema, ReportRequestSchema } from "../protocol/index.ts";
import { TrustState } from "../trust-log/index.ts";
import { FollowerRegistry } from "./follower-registry.ts";

let clock: FakeClock;
let registry: FollowerRegistry;
let state: TrustState;
let told: number;

beforeEach(() => {
  clock = fakeClock();
  registry = new FollowerRegistry(clock);
  state = new TrustState();
  told = 0;
  registry.onEndpoints(() => {
    told += 1;
  });
  for (const node of ["one", "two"]) state.nodes.set(node, { nodeKey: "" });
});

function register(instance: string, node: string): void {
  const row = { service: "/shop/pay", auditKey: "", registeredAtSeconds: 0, isDraining: false };
  state.instances.set(instance, { ...row, node });
}

function report(node: string, ...instances: readonly string[]): void {
  const followers = instances.map((instance) =>
    create(FollowerStatusSchema, { instance, address: "127.0.0.1:1" }),
  );
  registry.report(state, node, create(ReportRequestSchema, { followers }));
}

/** The instances of the list; undefined while it is partial. */
function served(): readonly string[] | undefined {
  const list = registry.endpoints(state);
  return list.isPartial ? undefined : list.endpoints.map(({ instance }) => instance);
}

it("has a partial list until every node has told of every instance that the log has on it", () => {
  register("a", "one");
  register("b", "one");
  register("c", "two");

  expect(registry.endpoints(state)).toEqual({ endpoints: [], isPartial: true });
  report("one", "a");
  report("two", "c");
  const partial = registry.endpoints(state);
  expect(partial).toMatchObject({ endpoints: [{ instance: "a" }, { instance: "c" }], isPartial: true });
  expect(registry.endpoints(state)).toBe(partial);

  report("one", "a", "b");
  expect(served()?.toSorted()).toEqual(["a", "b", "c"]);
  expect(told).toBe(3);
});

it("waits for an instance for five seconds from its node's first report, whenever that comes", () => {
  register("a", "one");
  report("two");
  clock.advanceSeconds(20);
  expect(served()).toEqual([]);

  report("one");
  expect(served()).toBeUndefined();
  clock.advanceSeconds(4);
  report("one");
  expect(served()).toBeUndefined();
  clock.advanceSeconds(1);
  report("one");

  expect(served()).toEqual([]);
});

it("waits for a node for fifteen seconds from the start", () => {
  report("one");
  clock.advanceSeconds(14);
  expect(served()).toBeUndefined();

  clock.advanceSeconds(1);
  expect(served()).toEqual([]);
});

it("tells when it has waited long enough, although nothing else has changed", () => {
  register("a", "one");
  register("b", "one");
  report("two");
  report("one", "a");
  const before = told;

  clock.advanceSeconds(5);
  report("one", "a");

  expect(served()).toEqual(["a"]);
  expect(told).toBe(before + 1);
});

it("leaves out at once who serves nowhere, once all have been heard of", () => {
  register("a", "one");
  report("two");
  report("one", "a");
  expect(served()).toEqual(["a"]);
  const before = told;

  const status = create(FollowerStatusSchema, { instance: "a", address: "" });
  registry.report(state, "one", create(ReportRequestSchema, { followers: [status] }));

  expect(served()).toEqual([]);
  expect(told).toBe(before + 1);
});

it("says how stale a follower is by now: it reports every new epoch, and else only what has changed", () => {
  register("a", "one");

  registry.report(
    state,
    "one",
    create(ReportRequestSchema, { followers: [{ instance: "a", stalenessSeconds: 2 }] }),
  );
  clock.advanceSeconds(4);
  registry.report(state, "one", create(ReportRequestSchema, {}));

  expect(registry.statuses()).toMatchObject([{ instance: "a", stalenessSeconds: 6 }]);
});

it("names who would stop before an entry that takes a later revision", () => {
  register("aaaaaaaa-1", "one");
  register("bbbbbbbb-1", "two");
  const at = (entryRevision: number, softwareVersion = "1.0.0") => ({ entryRevision, softwareVersion });
  const say = (node: string, agent: object, instance: string, follower: object): void =>
    registry.report(
      state,
      node,
      create(ReportRequestSchema, { ...agent, followers: [{ instance, ...follower }] }),
    );
  const older = (revision: number): readonly string[] =>
    registry
      .olderThan(revision, state)
      .map(({ name, told: { entryRevision, softwareVersion } = at(-1, "unheard") }) =>
        [name, entryRevision, softwareVersion].join(" "),
      );

  expect(older(1)).toEqual([]);
  expect(older(2)).toEqual([
    "node agent of one -1 unheard",
    "node agent of two -1 unheard",
    "/shop/pay aaaaaaaa -1 unheard",
    "/shop/pay bbbbbbbb -1 unheard",
  ]);

  say("one", at(2), "aaaaaaaa-1", at(2));
  say("two", at(3), "bbbbbbbb-1", {});
  expect(older(2)).toEqual(["/shop/pay bbbbbbbb 0 "]);
  expect(older(3)).toEqual([
    "node agent of one 2 1.0.0",
    "/shop/pay aaaaaaaa 2 1.0.0",
    "/shop/pay bbbbbbbb 0 ",
  ]);

  say("two", at(3), "bbbbbbbb-1", at(2, "no version at all"));
  expect(older(2)).toEqual([]);
  expect(registry.statuses().map(({ softwareVersion }) => softwareVersion)).toEqual(["1.0.0", ""]);
});

it("says whether a proxy is older, or may be since it was there before the start", () => {
  const instance = "aaaaaaaa-1";
  register(instance, "one");
  const [before, since] = [new Set([instance]), new Set<string>()];
  const say = (entryRevision: number): void =>
    registry.report(state, "one", create(ReportRequestSchema, { followers: [{ instance, entryRevision }] }));

  const unheard = [before, since].map((known) => registry.hasProxyOlderThan(3, state, known));
  say(2);
  const isOlder = registry.hasProxyOlderThan(3, state, since);
  say(3);

  expect(unheard).toEqual([true, false]);
  expect([isOlder, registry.hasProxyOlderThan(3, state, before)]).toEqual([true, false]);
});

it("waits for nobody who has not been heard of long after the start", () => {
  register("aaaaaaaa-1", "one");
  expect(registry.olderThan(2, state)).toHaveLength(3);

  clock.advanceSeconds(60);

  expect(registry.olderThan(2, state)).toEqual([]);
});

it("sends nobody to an instance in quarantine, and names one that offers itself although it knows", () => {
  register("a", "one");
  register("b", "one");
  const row = { reason: "suspicion", evidence: {}, atSeconds: 0, liftedBy: "operator" } as const;
  state.standings.set("a", { ...row, state: "quarantined", decision: 10 });
  const offer = (size: number): void => {
    const followers = ["a", "b"].map((instance) =>
      create(FollowerStatusSchema, { instance, address: "127.0.0.1:1", size: BigInt(size) }),
    );
    registry.report(state, "one", create(ReportRequestSchema, { followers }));
  };
  report("two");

  offer(10);
  const early = registry.alarms();
  offer(11);

  expect(served()).toEqual(["b"]);
  expect(early).toEqual([]);
  expect(registry.alarms()).toMatchObject([
    { reason: "advertised-in-quarantine", detail: "one: /shop/pay a" },
  ]);
});

it("believes no figures that are none, and keeps what callers say of the first 256 instances", () => {
  register("a", "one");
  const called = Array.from({ length: 300 }, (_, place) => ({ instance: `i${place}`, requests: 0n }));
  for (const { instance } of called) register(instance, "two");
  const resources = {
    health: "very",
    healthReason: "x y",
    p50Millis: Number.NaN,
    p90Millis: -1,
    p99Millis: 7,
  };
  const tell = (requests: bigint): void => {
    const told = called.map((one) => ({ ...one, requests }));
    const followers = [create(FollowerStatusSchema, { instance: "a", resources, called: told })];
    registry.report(state, "one", create(ReportRequestSchema, { followers }));
  };

  tell(0n);
  tell(5n);

  const now = clock.monotonicMillis();
  expect(registry.reportOf("a")?.status.resources).toMatchObject({
    health: "",
    healthReason: "",
    p50Millis: 0,
    p90Millis: 0,
    p99Millis: 7,
  });
  expect(registry.calls.of("i255", now)).toEqual([{ caller: "a", requests: 5, failures: 0 }]);
  expect(registry.calls.of("i256", now)).toEqual([]);
});

it("believes no time to answer of more than an hour, and no more errors than requests", () => {
  register("a", "one");
  const resources = { p50Millis: 1e300, p90Millis: 1e300, p99Millis: Number.NaN, requests: 5, errors: 9 };

  registry.report(state, "one", create(ReportRequestSchema, { followers: [{ instance: "a", resources }] }));

  expect(registry.reportOf("a")?.status.resources).toMatchObject({
    p50Millis: 3_600_000,
    p90Millis: 3_600_000,
    p99Millis: 0,
    requests: 5,
    errors: 5,
  });
});
