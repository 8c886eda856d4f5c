import { expect, it } from "vitest";
import { shownAlarms } from "./shown-alarms.ts";

const nodes = ["edge-1", "edge-2"];
const many = (node: string): { reason: string; detail: string }[] =>
  Array.from({ length: 40 }, (_, count) => ({ reason: `made-up-${count}`, detail: `${node}: ${count}` }));

it("shows what the control plane and other nodes have to say, however much one node says after it", () => {
  const rolledBack = { reason: "log-rolled-back", detail: "from 9 entries to 7" };
  const forked = { reason: "forked", detail: "edge-2: two trees" };

  const shown = shownAlarms([rolledBack, forked, ...many("edge-1")], nodes);

  expect(shown).toEqual([rolledBack, forked, ...many("edge-1").slice(-3)]);
});

it("shows the latest of each reason that the control plane has, however often strangers cause another", () => {
  const rolledBack = { reason: "log-rolled-back", detail: "from 9 entries to 7" };
  const calls = Array.from({ length: 40 }, (_, key) => ({ reason: "call-refused", detail: `key ${key}` }));

  expect(shownAlarms([rolledBack, ...calls], nodes)).toEqual([rolledBack, calls.at(-1)]);
});
