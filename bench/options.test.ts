import { describe, expect, it } from "vitest";
import { coresIn, pinned } from "./cores.ts";
import { parseBenchOptions } from "./options.ts";
import { chooseScenarios, efforts, loadOf, scenarios } from "./scenarios.ts";

describe("parseBenchOptions", () => {
  it.each([
    [[], "default"],
    [["--quick"], "quick"],
    [["--full"], "full"],
  ] as const)("of %j measures with the effort %s", (args, effort) => {
    const options = parseBenchOptions(args);

    expect(options.ok && options.value.effort).toEqual(efforts[effort]);
  });

  it("measures as often as it is told", () => {
    const options = parseBenchOptions(["--quick", "--rounds", "40"]);

    expect(options.ok && options.value.effort).toEqual({ ...efforts.quick, rounds: 40 });
  });

  it.each([
    [["--quick", "--full"]],
    [["--rounds", "0"]],
    [["--rounds", "1.5"]],
    [["--rounds", "many"]],
    [["--profile", "--compare", "HEAD"]],
    [["--quik"]],
    [["saturation"]],
    [["--only"]],
  ])("refuses %j", (args) => {
    expect(parseBenchOptions(args).ok).toBe(false);
  });
});

describe("scenarios", () => {
  it("have names of their own", () => {
    expect(new Set(scenarios.map(({ name }) => name)).size).toBe(scenarios.length);
  });

  it("are fewer when it has to be quick, but --only finds each", () => {
    expect(chooseScenarios("quick", "").length).toBeLessThan(chooseScenarios("default", "").length);
    expect(chooseScenarios("quick", "saturation-256").map(({ name }) => name)).toEqual(["saturation-256"]);
  });

  it("have enough rounds for a 95 % interval in every effort", () => {
    expect(Math.min(...Object.values(efforts).map(({ rounds }) => rounds))).toBeGreaterThanOrEqual(6);
  });

  it("answer on every idle connection before it counts as idle", () => {
    const memory = scenarios.find(({ kind }) => kind === "memory");
    const load = memory === undefined ? undefined : loadOf(memory, efforts.quick);

    expect((load?.requestsPerSecond ?? 0) * (load?.seconds ?? 0)).toBeGreaterThanOrEqual(
      load?.connections ?? Infinity,
    );
  });
});

describe("pinning", () => {
  it.each([
    ["pid 7's current affinity list: 0,1\n", [0, 1]],
    ["pid 7's current affinity list: 2-4,7\n", [2, 3, 4, 7]],
    ["taskset: failed", []],
  ])("reads %j", (said, cores) => {
    expect(coresIn(said)).toEqual(cores);
  });

  it("puts taskset before a command, or nothing", () => {
    expect(pinned(1, "nginx", ["-v"])).toEqual(["taskset", ["-c", "1", "nginx", "-v"]]);
    expect(pinned(undefined, "nginx", ["-v"])).toEqual(["nginx", ["-v"]]);
  });
});
