import { expect, it } from "vitest";
import { healthArguments, healthCheckOf } from "./health-options.ts";

it("asks for a path twice a second unless told otherwise, and for nothing where none is given", () => {
  expect(healthCheckOf({ health: "/healthz" })).toEqual({
    path: "/healthz",
    intervalMillis: 500,
    timeoutMillis: 500,
    failuresMax: 2,
    successesMin: 2,
  });
  expect([healthCheckOf({ healthInterval: 100 }), healthArguments({})]).toEqual([undefined, []]);
});

it("hands a sidecar what it was given", () => {
  const given = {
    health: "/up?deep=1",
    healthInterval: 1_000,
    healthTimeout: 50,
    healthFailures: 3,
    healthSuccesses: 1,
  };

  expect(healthArguments(given).join(" ")).toBe(
    "--health /up?deep=1 --health-interval 1000 --health-timeout 50 --health-failures 3 --health-successes 1",
  );
});

it.each([
  ["no path", { health: "healthz" }],
  ["a path with a line's end", { health: "/a\r\nHost: b" }],
  ["asking too often", { health: "/", healthInterval: 49 }],
  ["asking too seldom", { health: "/", healthInterval: 60_001 }],
  ["no time for an answer", { health: "/", healthTimeout: 0 }],
  ["no failures", { health: "/", healthFailures: 0 }],
  ["too many successes", { health: "/", healthSuccesses: 101 }],
])("refuses %s", (_, options) => {
  expect(() => healthCheckOf(options)).toThrow(/--health[^]*expected/);
});
