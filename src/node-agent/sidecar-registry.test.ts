import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { type Alarm, AlarmSchema, type FollowerStatus, FollowerStatusSchema } from "../protocol/index.ts";
import { SidecarRegistry } from "./sidecar-registry.ts";

const absenceMillis = 40;

function statusOf(instance: string, address = "127.0.0.1:1"): FollowerStatus {
  return create(FollowerStatusSchema, { instance, service: "/shop/web", address });
}

function alarmOf(reason: string, detail = ""): Alarm {
  return create(AlarmSchema, { reason, detail });
}

function arrive(sidecars: SidecarRegistry, instance: string): () => void {
  const leave = sidecars.arrive(instance);
  if (leave === false) throw new Error("no place");
  return leave;
}

it("withdraws the endpoint of a sidecar that is gone at once, and ends its instance a while after", async () => {
  const sidecars = new SidecarRegistry(() => true, absenceMillis);
  const instance = randomUUID();
  const leave = arrive(sidecars, instance);
  sidecars.report([statusOf(instance)], []);

  leave();
  expect(sidecars.pending()).toMatchObject({ followers: [{ instance, address: "" }], ended: [] });
  await pause(3 * absenceMillis);

  const pending = sidecars.pending();
  expect(pending).toMatchObject({ followers: [], ended: [instance] });
  sidecars.delivered(pending);
  expect(sidecars.pending().ended).toEqual([]);
});

it("ends no instance that comes back in time, or that has another stream", async () => {
  const sidecars = new SidecarRegistry(() => true, absenceMillis);
  const [one, two] = [randomUUID(), randomUUID()];
  const leaveOne = arrive(sidecars, one);
  const leaveTwo = arrive(sidecars, two);
  arrive(sidecars, two);

  leaveOne();
  leaveTwo();
  arrive(sidecars, one);
  await pause(3 * absenceMillis);

  expect(sidecars.pending().ended).toEqual([]);
});

it("ends what was registered here before the agent's start and does not come, and nothing that does", async () => {
  const sidecars = new SidecarRegistry(() => true, absenceMillis);
  const [gone, late, early] = [randomUUID(), randomUUID(), randomUUID()];
  arrive(sidecars, early);
  sidecars.expect([gone, late, early], absenceMillis);
  arrive(sidecars, late);
  await pause(3 * absenceMillis);

  expect(sidecars.pending().ended).toEqual([gone]);
});

it("ends only what the log has registered here, and forgets what it has not any more", async () => {
  const registered = new Set<string>([randomUUID(), randomUUID()]);
  const sidecars = new SidecarRegistry((instance) => registered.has(instance), absenceMillis);
  for (const instance of [...registered, randomUUID()]) arrive(sidecars, instance)();
  await pause(3 * absenceMillis);

  expect(sidecars.pending().ended).toEqual([...registered]);
  registered.clear();

  expect(sidecars.pending().ended).toEqual([]);
});

it("believes only sidecars that follow, and nothing of them that is too long", () => {
  const sidecars = new SidecarRegistry(() => true, absenceMillis);
  const instance = randomUUID();
  arrive(sidecars, instance);

  sidecars.report([statusOf(randomUUID()), statusOf(instance, "x".repeat(400))], []);
  expect(sidecars.pending().followers).toEqual([]);
  sidecars.report([statusOf(instance)], []);

  expect(sidecars.pending().followers).toHaveLength(1);
});

it.each(["", "1", "x".repeat(100_000)])("has no place for %.5j, which is no instance", (instance) => {
  expect(new SidecarRegistry(() => true, absenceMillis).arrive(instance)).toBe(false);
});

it("has places for 2000 sidecars, and for those that are there already", () => {
  const sidecars = new SidecarRegistry(() => true, absenceMillis);
  const instances = Array.from({ length: 2_000 }, () => randomUUID());
  for (const instance of instances) arrive(sidecars, instance);

  expect(sidecars.arrive(randomUUID())).toBe(false);
  expect(sidecars.arrive(instances[0] ?? "")).not.toBe(false);
});

it("keeps the latest alarms until they are delivered, each of bounded length", () => {
  const sidecars = new SidecarRegistry(() => true, absenceMillis);
  sidecars.report([], [alarmOf("r".repeat(10_000), "d".repeat(10_000))]);
  const [long] = sidecars.pending().alarms;
  expect((long?.reason.length ?? 0) + (long?.detail.length ?? 0)).toBeLessThan(600);

  for (let count = 0; count < 300; count += 1) sidecars.alarm(alarmOf("late", String(count)));
  const pending = sidecars.pending();
  sidecars.alarm(alarmOf("new"));
  sidecars.delivered(pending);

  expect(pending.alarms.map(({ detail }) => detail).slice(-2)).toEqual(["298", "299"]);
  expect(pending.alarms).toHaveLength(256);
  expect(sidecars.pending().alarms.map(({ reason }) => reason)).toEqual(["new"]);
});

it("waits for nobody once it is closed, not even for who leaves then", async () => {
  const sidecars = new SidecarRegistry(() => true, absenceMillis);
  const leaveBefore = arrive(sidecars, randomUUID());
  const leaveAfter = arrive(sidecars, randomUUID());

  leaveBefore();
  sidecars.close();
  leaveAfter();
  await pause(3 * absenceMillis);

  expect(sidecars.pending().ended).toEqual([]);
});

it("tells the control plane a status once, again where it changes, and all of them to one that may know nothing", () => {
  const sidecars = new SidecarRegistry(() => true, absenceMillis);
  const [one, two] = [randomUUID(), randomUUID()];
  arrive(sidecars, one);
  arrive(sidecars, two);
  sidecars.report([statusOf(one), statusOf(two)], []);
  sidecars.delivered(sidecars.pending());
  expect(sidecars.hasNews).toBe(false);

  sidecars.report([create(FollowerStatusSchema, { ...statusOf(one), stalenessSeconds: 3 })], []);
  expect(sidecars.pending().followers).toEqual([]);
  sidecars.report([create(FollowerStatusSchema, { ...statusOf(one), requestsForwarded: 1n })], []);
  expect(sidecars.pending().followers).toMatchObject([{ instance: one, requestsForwarded: 1n }]);
  sidecars.delivered(sidecars.pending());

  sidecars.tellAll();
  expect(sidecars.pending().followers.map(({ instance }) => instance)).toEqual([one, two]);
});

it("tells what changed while a report was on its way", () => {
  const sidecars = new SidecarRegistry(() => true, absenceMillis);
  const instance = randomUUID();
  arrive(sidecars, instance);
  sidecars.report([statusOf(instance, "127.0.0.1:1")], []);
  const underWay = sidecars.pending();
  sidecars.report([statusOf(instance, "127.0.0.1:2")], []);

  sidecars.delivered(underWay);

  expect(sidecars.pending().followers).toMatchObject([{ instance, address: "127.0.0.1:2" }]);
});

function pause(millis: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, millis));
}

it("drops a status that says more of other instances than one has to say", () => {
  const sidecars = new SidecarRegistry(() => true, absenceMillis);
  const instance = randomUUID();
  arrive(sidecars, instance);
  const tooMany = Array.from({ length: 257 }, () => ({ instance: randomUUID() }));

  for (const called of [tooMany, [{ instance: "x".repeat(10_000) }]])
    sidecars.report([create(FollowerStatusSchema, { instance, called })], []);
  expect(sidecars.pending().followers).toEqual([]);

  sidecars.report([create(FollowerStatusSchema, { instance, called: tooMany.slice(1) })], []);
  expect(sidecars.pending().followers.length).toBe(1);
  sidecars.close();
});
