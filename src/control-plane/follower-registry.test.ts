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
