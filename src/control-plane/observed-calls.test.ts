import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { type CalledInstance, CalledInstanceSchema, calledMax } from "../protocol/index.ts";
import { ObservedCalls } from "./observed-calls.ts";

function called(instance: string, requests: number, failures: number): CalledInstance {
  return create(CalledInstanceSchema, { instance, requests: BigInt(requests), failures: BigInt(failures) });
}

const everything = { has: () => true };

function note(
  calls: ObservedCalls,
  caller: string,
  seen: readonly CalledInstance[],
  nowMillis: number,
): void {
  calls.note({ instance: caller, node: "edge-1" }, seen, everything, nowMillis);
}

/** As many requests as there are reports, less the first, in the last ten seconds. */
function noteTwice(
  calls: ObservedCalls,
  caller: { instance: string; node: string },
  seen: readonly string[],
): void {
  for (const requests of [1, 2]) {
    const all = seen.map((instance) => called(instance, requests, 0));
    calls.note(caller, all, everything, requests);
  }
}

it("counts what has come since the last report, within ten seconds, of each caller by itself", () => {
  const calls = new ObservedCalls();
  note(calls, "web", [called("pay", 1_000, 500)], 0);
  const first = calls.of("pay", 0);
  note(calls, "web", [called("pay", 1_010, 504)], 1_000);
  note(calls, "job", [called("pay", 5, 5)], 1_000);
  note(calls, "job", [called("pay", 7, 5)], 9_000);

  expect(first).toEqual([]);
  expect(calls.of("pay", 9_000)).toEqual([
    { caller: "web", requests: 10, failures: 4 },
    { caller: "job", requests: 2, failures: 0 },
  ]);
  expect(calls.of("pay", 11_500)).toEqual([{ caller: "job", requests: 2, failures: 0 }]);
});

it("takes a caller that counts from the beginning again at its word", () => {
  const calls = new ObservedCalls();
  note(calls, "web", [called("pay", 100, 50)], 0);
  note(calls, "web", [called("pay", 3, 1)], 1_000);

  expect(calls.of("pay", 1_000)).toEqual([{ caller: "web", requests: 3, failures: 1 }]);
});

it("does not believe more failures than requests, nor what an instance says of calling itself", () => {
  const calls = new ObservedCalls();
  for (const [caller, requests, failures] of [
    ["web", 0, 0],
    ["pay", 0, 0],
    ["web", 5, 900],
    ["pay", 5, 5],
  ] as const)
    note(calls, caller, [called("pay", requests, failures)], 1_000);

  expect(calls.of("pay", 1_000)).toEqual([{ caller: "web", requests: 5, failures: 5 }]);
});

it("forgets those that are no more, as callers and as called", () => {
  const calls = new ObservedCalls();
  for (const requests of [1, 2]) {
    note(calls, "web", [called("pay", requests, 0), called("job", requests, 0)], requests);
    note(calls, "job", [called("pay", requests, 0)], requests);
  }

  calls.forget("web");
  expect([calls.of("pay", 2).length, calls.of("job", 2).length]).toEqual([1, 0]);
  calls.forget("pay");
  expect(calls.of("pay", 2)).toEqual([]);
});

it("knows of no calls of instances that do not exist", () => {
  const calls = new ObservedCalls();
  for (const requests of [1, 2])
    calls.note(
      { instance: "web", node: "edge-1" },
      [called("pay", requests, 0), called("made-up", requests, 0)],
      { has: (instance) => instance === "pay" },
      requests,
    );

  expect([calls.of("pay", 2).length, calls.of("made-up", 2).length]).toEqual([1, 0]);
});

it("has so many of one caller, and the oldest goes where it reports another one", () => {
  const calls = new ObservedCalls();
  const web = { instance: "web", node: "edge-1" };
  noteTwice(
    calls,
    web,
    Array.from({ length: calledMax }, (_, place) => `pay-${place}`),
  );
  noteTwice(calls, web, ["pay-0"]);

  noteTwice(calls, web, ["another"]);

  const known = ["another", "pay-0", "pay-1", "pay-2"].map((instance) => calls.of(instance, 2).length);
  expect(known).toEqual([1, 1, 0, 1]);
});

it("leaves room for the callers of other nodes, whatever those of one report, and has it again once those end", () => {
  const calls = new ObservedCalls();
  const many = Array.from({ length: calledMax }, (_, place) => `pay-${place}`);
  for (let place = 0; place < 400; place += 1)
    noteTwice(calls, { instance: `evil-${place}`, node: "evil" }, many);
  const [late, web] = [
    { instance: "late", node: "evil" },
    { instance: "web", node: "edge-1" },
  ];

  noteTwice(calls, late, ["ledger"]);
  noteTwice(calls, web, ["ledger"]);
  expect(calls.of("ledger", 2).map(({ caller }) => caller)).toEqual(["web"]);
  calls.forget("evil-0");
  noteTwice(calls, late, ["ledger"]);
  expect(calls.of("ledger", 2).map(({ caller }) => caller)).toEqual(["web", "late"]);
});

it("believes no number of requests that cannot be", () => {
  const calls = new ObservedCalls();
  note(calls, "web", [called("pay", 1, 0)], 0);
  note(calls, "web", [create(CalledInstanceSchema, { instance: "pay", requests: 2n ** 64n - 1n })], 1_000);

  expect(calls.of("pay", 1_000)).toEqual([{ caller: "web", requests: 1_000_000_000, failures: 0 }]);
});
