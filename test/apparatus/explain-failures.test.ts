import { expect, test } from "vitest";
import { explainFailure } from "./explain-failures.ts";
import type { Kill } from "./kill-storm.ts";
import type { AskedOnce } from "./open-loop-load.ts";
import type { Arrival, UnitName } from "./storm-mesh.ts";

const kill: Kill = {
  unit: "front-1",
  role: "sidecar",
  atMillis: 10_000,
  goneMillis: 10_020,
  backMillis: 12_000,
};

function asked(sentMillis: number, endedMillis: number): AskedOnce {
  return { number: 1, sentMillis, endedMillis, status: 0, body: "read ECONNRESET" };
}

function at(units: readonly UnitName[]): Arrival[] {
  return units.map((unit) => ({ unit, atMillis: 9_950 }));
}

test.each([
  ["in flight when its process was killed", [9_900, 10_001], ["front-1"], "in-flight"],
  ["in flight, and not known to have arrived", [9_900, 10_001], [], "in-flight"],
  ["ended before", [9_900, 9_999], ["front-1"], "unexplained"],
  ["sent while the process was away", [10_100, 10_200], ["front-1"], "away"],
  ["sent while others may not know yet that it is back", [12_500, 12_600], ["front-1"], "away"],
  ["sent long after", [13_500, 13_600], ["front-1"], "unexplained"],
  ["at another instance", [9_900, 10_001], ["front-2"], "unexplained"],
  ["sent on from another instance", [9_900, 10_001], ["front-2", "front-1"], "in-flight"],
] as const)("a request %s", (_what, [sent, ended], arrivals, kind) => {
  expect(explainFailure(asked(sent, ended), { kills: [kill], arrivals: at(arrivals) }).kind).toBe(kind);
});

test.each([
  [10_400, "client", "read ECONNRESET", "in-flight"],
  [10_600, "client", "read ECONNRESET", "away"],
  [10_400, "client", "no answer within 10000 ms", "away"],
  [10_400, "client", "front-1: read ECONNRESET", "away"],
  [10_400, "front-1", "read ECONNRESET", "away"],
] as const)(
  "a request sent at %d that ends with its connection: killed %s, %s: %s",
  (sent, unit, body, kind) => {
    const killed = { ...kill, unit, goneMillis: 10_010 };
    const failed = { ...asked(sent, sent + 5), body };
    expect(explainFailure(failed, { kills: [killed], arrivals: at(["front-1"]) }).kind).toBe(kind);
  },
);

test("a kill off the way explains nothing, whatever it is", () => {
  const others = (["control-plane", "node-agent", "up"] as const).map((role) => ({
    ...kill,
    unit: "mesh" as const,
    role,
  }));
  expect(explainFailure(asked(9_900, 10_001), { kills: others, arrivals: [] })).toMatchObject({
    kind: "unexplained",
    how: expect.stringContaining("ECONNRESET"),
  });
});

test("a failure at the back is looked for there once the front was reached", () => {
  const atBack = { ...kill, unit: "back-2" as const };
  const explain = (arrivals: readonly ("front-1" | "back-1")[]): string =>
    explainFailure(asked(9_900, 10_001), { kills: [atBack], arrivals: at(arrivals) }).kind;
  expect([explain([]), explain(["front-1"]), explain(["front-1", "back-1"])]).toEqual([
    "unexplained",
    "in-flight",
    "unexplained",
  ]);
});
