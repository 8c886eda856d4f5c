import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { type CalledInstance, CalledInstanceSchema } from "../protocol/index.ts";
import { ObservedCalls } from "./observed-calls.ts";

function called(instance: string, requests: number, failures: number): CalledInstance {
  return create(CalledInstanceSchema, { instance, requests: BigInt(requests), failures: BigInt(failures) });
}

it("counts what has come since the last report, within ten seconds, of each caller by itself", () => {
  const calls = new ObservedCalls();
  calls.note("web", [called("pay", 1_000, 500)], 0);
  const first = calls.of("pay", 0);
  calls.note("web", [called("pay", 1_010, 504)], 1_000);
  calls.note("job", [called("pay", 5, 5)], 1_000);
  calls.note("job", [called("pay", 7, 5)], 9_000);

  expect(first).toEqual([]);
  expect(calls.of("pay", 9_000)).toEqual([
    { caller: "web", requests: 10, failures: 4 },
    { caller: "job", requests: 2, failures: 0 },
  ]);
  expect(calls.of("pay", 11_500)).toEqual([{ caller: "job", requests: 2, failures: 0 }]);
});

it("takes a caller that counts from the beginning again at its word", () => {
  const calls = new ObservedCalls();
  calls.note("web", [called("pay", 100, 50)], 0);
  calls.note("web", [called("pay", 3, 1)], 1_000);

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
    calls.note(caller, [called("pay", requests, failures)], 1_000);

  expect(calls.of("pay", 1_000)).toEqual([{ caller: "web", requests: 5, failures: 5 }]);
});

it("forgets those that are no more, as callers and as called", () => {
  const calls = new ObservedCalls();
  for (const requests of [1, 2]) {
    calls.note("web", [called("pay", requests, 0), called("job", requests, 0)], requests);
    calls.note("job", [called("pay", requests, 0)], requests);
  }

  calls.forget("web");
  expect([calls.of("pay", 2).length, calls.of("job", 2).length]).toEqual([1, 0]);
  calls.forget("pay");
  expect(calls.of("pay", 2)).toEqual([]);
});
