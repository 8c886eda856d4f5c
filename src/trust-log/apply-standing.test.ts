import fc from "fast-check";
import { expect, it } from "vitest";
import { foundedAtSeconds, SmallTrustLog, serviceBody } from "../../test/fakes/small-trust-log.ts";
import type { JsonObject } from "../base/canonical-json.ts";
import { type InstanceState, instanceStateOf } from "./instance-state.ts";

const instance = "00000000-0000-4000-8000-000000000001";
const seen = { isAdvertised: true, isHealthy: true };
const because = { reason: "failing", evidence: { errorPermille: 900 } };

/** What is decided of an instance, by whom: operators decide under three kinds, the control plane under one. */
type Step =
  | "register"
  | "certify"
  | "degrade"
  | "quarantine"
  | "release"
  | "drain"
  | "resume"
  | "remove"
  | "revoke"
  | "judge degraded"
  | "judge quarantined"
  | "judge serving";

const steps: readonly Step[] = [
  "register",
  "certify",
  "degrade",
  "quarantine",
  "release",
  "drain",
  "resume",
  "remove",
  "revoke",
  "judge degraded",
  "judge quarantined",
  "judge serving",
];

/** A log with a service and a node, and nothing running there. */
function smallMesh(): SmallTrustLog {
  const log = new SmallTrustLog();
  log.put("service.put", serviceBody("/shop"));
  log.putNode("edge-1");
  return log;
}

let serial = 0;

function entryOf(log: SmallTrustLog, step: Step, decision: number): readonly [string, JsonObject] {
  switch (step) {
    case "register":
      return ["instance.register", { instance, service: "/shop", node: "edge-1", auditKey: "" }];
    case "certify":
      return ["svid.issue", certificateOf(log)];
    case "degrade":
      return ["instance.degrade", { instance, ...because }];
    case "quarantine":
      return ["instance.quarantine", { instance, ...because }];
    case "release":
      return ["instance.release", { instance, decision }];
    case "drain":
      return ["instance.drain", { instance }];
    case "resume":
      return ["instance.resume", { instance }];
    case "remove":
      return ["instance.remove", { instance }];
    case "revoke":
      return ["instance.revoke", { instance, reason: "key-compromise" }];
    case "judge degraded":
    case "judge quarantined":
    case "judge serving":
      return ["instance.judge", { instance, standing: step.slice(6), decision, ...because }];
  }
}

function certificateOf(log: SmallTrustLog): JsonObject {
  serial += 1;
  const now = log.state.genesis?.epochTimeSeconds ?? foundedAtSeconds;
  return {
    certificate: serial.toString(16).padStart(64, "0"),
    spiffeId: "spiffe://example.org/shop",
    instance,
    serial: "01",
    notBeforeSeconds: now,
    notAfterSeconds: now + 3600,
  };
}

/** Why a step has no effect; "" where it has one. `decision` is the one in force unless given. */
function take(log: SmallTrustLog, step: Step, decision = inForce(log)): string {
  const outcome = log.order(log.entry(...entryOf(log, step, decision)));
  if (!outcome.ok) return `stop: ${outcome.reason}`;
  return outcome.value.hasEffect ? "" : `${outcome.value.reason}: ${outcome.value.detail}`;
}

function inForce(log: SmallTrustLog): number {
  return log.state.standings.get(instance)?.decision ?? 0;
}

function stateAfter(...taken: readonly Step[]): [InstanceState, SmallTrustLog] {
  const log = smallMesh();
  for (const step of taken) expect([step, take(log, step)]).toEqual([step, ""]);
  return [instanceStateOf(log.state, instance, seen), log];
}

const serving: readonly Step[] = ["register", "certify"];

/** Every state, the way to it, and what each decision makes of it; refused where it is not listed. */
const machine: readonly (readonly [InstanceState, readonly Step[], Partial<Record<Step, InstanceState>>])[] =
  [
    ["withdrawn", [], { register: "pending" }],
    [
      "pending",
      ["register"],
      {
        certify: "serving",
        // Nobody can call what has no certificate, whatever is preferred to it.
        degrade: "pending",
        "judge degraded": "pending",
        quarantine: "quarantined",
        "judge quarantined": "quarantined",
        drain: "draining",
        remove: "withdrawn",
        revoke: "revoked",
      },
    ],
    [
      "serving",
      serving,
      {
        certify: "serving",
        degrade: "degraded",
        "judge degraded": "degraded",
        quarantine: "quarantined",
        "judge quarantined": "quarantined",
        drain: "draining",
        remove: "withdrawn",
        revoke: "revoked",
      },
    ],
    [
      "degraded",
      [...serving, "degrade"],
      {
        certify: "degraded",
        release: "serving",
        quarantine: "quarantined",
        "judge quarantined": "quarantined",
        drain: "draining",
        remove: "withdrawn",
        revoke: "revoked",
      },
    ],
    [
      "degraded",
      [...serving, "judge degraded"],
      {
        certify: "degraded",
        // An operator makes the decision his own.
        degrade: "degraded",
        release: "serving",
        "judge serving": "serving",
        quarantine: "quarantined",
        "judge quarantined": "quarantined",
        drain: "draining",
        remove: "withdrawn",
        revoke: "revoked",
      },
    ],
    [
      "draining",
      [...serving, "drain"],
      {
        certify: "draining",
        resume: "serving",
        quarantine: "quarantined",
        "judge quarantined": "quarantined",
        remove: "withdrawn",
        revoke: "revoked",
      },
    ],
    [
      "quarantined",
      [...serving, "quarantine"],
      { release: "serving", remove: "quarantined", revoke: "revoked" },
    ],
    [
      "quarantined",
      [...serving, "judge quarantined"],
      {
        quarantine: "quarantined",
        release: "serving",
        "judge serving": "serving",
        remove: "quarantined",
        revoke: "revoked",
      },
    ],
    [
      "quarantined",
      [...serving, "drain", "quarantine"],
      { release: "draining", remove: "quarantined", revoke: "revoked" },
    ],
    ["quarantined", [...serving, "quarantine", "remove"], { release: "withdrawn" }],
    ["revoked", [...serving, "revoke"], {}],
  ];

const table = machine.flatMap(([from, way, allowed]) =>
  steps.map((step) => ({ from, way, step, to: allowed[step] })),
);

it.each(table)("$from ($way): $step leads to $to", ({ from, way, step, to }) => {
  const [before, log] = stateAfter(...way);

  const refusal = take(log, step);

  expect(before).toBe(from);
  expect(refusal === "").toBe(to !== undefined);
  expect(instanceStateOf(log.state, instance, seen)).toBe(to ?? from);
  if (to === undefined) expect(refusal).toMatch(/^conflict: \S/);
});

it.each([
  [{ isAdvertised: false, isHealthy: false }, "authenticated"],
  [{ isAdvertised: true, isHealthy: false }, "advertised"],
  [{ isAdvertised: true, isHealthy: true }, "serving"],
] as const)("tells what nobody has decided from what is seen: %j is %s", (told, expected) => {
  const [, log] = stateAfter(...serving);

  expect(instanceStateOf(log.state, instance, told)).toBe(expected);
});

it("does not let a release end a newer decision than the one that it names", () => {
  const [, log] = stateAfter(...serving, "quarantine");
  const old = inForce(log);
  expect(take(log, "release")).toBe("");
  expect(take(log, "quarantine")).toBe("");

  const refusal = take(log, "release", old);

  expect(refusal).toBe(`conflict: decision ${inForce(log)} is in force, not ${old}`);
  expect(instanceStateOf(log.state, instance, seen)).toBe("quarantined");
});

it("leaves it to people to end what they have decided, also where the control plane has gone further since", () => {
  const [, log] = stateAfter(...serving, "degrade", "judge quarantined");

  expect(take(log, "judge serving")).toMatch(/only an operator ends/);
  expect(take(log, "release")).toBe("");
});

it("drops a decision that was made upon another one than is in force", () => {
  const [, log] = stateAfter(...serving, "judge degraded");

  expect(take(log, "judge quarantined", 0)).toMatch(/is in force, not 0/);
  expect(instanceStateOf(log.state, instance, seen)).toBe("degraded");
});

it("keeps one that is gone from coming back under the same name, for thirty days", () => {
  const [, log] = stateAfter(...serving, "quarantine", "remove");

  log.putEpoch(30 * 86_400);
  expect(take(log, "register")).toMatch(/in quarantine by decision/);
  log.putEpoch(1);
  expect(take(log, "register")).toBe("");
});

it("forgets with an instance that it was degraded", () => {
  const [, log] = stateAfter(...serving, "degrade", "remove");

  expect(log.state.standings.size).toBe(0);
});

it("takes no decision that rests on more than eight numbers, or on words", () => {
  const nine = Object.fromEntries("abcdefghi".split("").map((name) => [name, 1]));
  const [, log] = stateAfter(...serving);
  const bodies: readonly JsonObject[] = [
    { instance, reason: "failing", evidence: nine },
    { instance, reason: "failing", evidence: { who: "alice" } },
    { instance, reason: "It failed!", evidence: {} },
  ];

  for (const body of bodies)
    expect(log.order(log.entry("instance.degrade", body))).toMatchObject({
      value: { hasEffect: false, reason: "malformed-body" },
    });
});

it("is in one of the states after any sequence, and leaves quarantine by a newer decision or a revocation alone", () => {
  const states: readonly InstanceState[] = [...new Set(machine.map(([from]) => from))];
  const anyStep = fc.record({ step: fc.constantFrom(...steps), isStale: fc.boolean() });
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 24 }), (sequence) => {
      const log = smallMesh();
      for (const { step, isStale } of sequence) {
        const decision = inForce(log);
        const before = instanceStateOf(log.state, instance, seen);
        const refusal = take(log, step, isStale ? Math.max(0, decision - 1) : decision);
        const after = instanceStateOf(log.state, instance, seen);
        expect(states).toContain(after);
        if (refusal !== "") expect(after).toBe(before);
        if (before !== "quarantined" || after === "quarantined") continue;
        const isRelease = step === "release" || step === "judge serving";
        expect(step === "revoke" || (isRelease && !isStale)).toBe(true);
      }
    }),
    { numRuns: 300 },
  );
});
