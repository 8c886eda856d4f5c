import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { journalOf, Thief } from "../../test/apparatus/log-thief.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import { openLogCopy, restoreLog } from "./index.ts";

let mesh: MeshInProcess;
let caller: Workload;
let callee: Workload;

beforeEach(async () => {
  mesh = await MeshInProcess.found();
  caller = await mesh.open("/shop/web");
  callee = await mesh.open("/shop/pay");
  await mesh.putRule("/shop/web", "/shop/pay");
  await mesh.settled();
  await until(async () => (await caller.call(callee.host)).status === 200, "the first call");
}, 30_000);

afterEach(() => mesh[Symbol.asyncDispose]());

async function keepOlderCopy(): Promise<void> {
  await mesh.stopControlPlane();
  await cp(mesh.logFolder, join(mesh.folder, "older"), { recursive: true });
  await mesh.startControlPlane();
}

async function putOlderCopyBack(): Promise<void> {
  await mesh.stopControlPlane();
  await rm(mesh.logFolder, { recursive: true });
  await cp(join(mesh.folder, "older"), mesh.logFolder, { recursive: true });
  // Published elsewhere, or lost as well: the agent alone knows.
  await rm(mesh.tilesFolder, { recursive: true });
}

test("an older log that was put back is without effect, and everything comes back from the agent's copy", async () => {
  await keepOlderCopy();
  for (let count = 0; count < 5; count += 1) await mesh.putService(`/kept/s${count}`);
  await mesh.putRule("/shop/web", "/shop/pay", { effect: "deny" });
  await mesh.settled();
  const { size } = mesh.controlPlane.writer.newest ?? { size: 0 };
  const acknowledged = await journalOf(mesh.logFolder, size);

  await putOlderCopyBack();
  await mesh.startControlPlane();
  await until(() => mesh.controlPlane.writer.isHalted, "the rollback is noticed");

  await expect(mesh.putService("/kept/other")).rejects.toThrow("log-rolled-back");
  expect((await mesh.alarms())[0]?.reason).toBe("log-rolled-back");
  expect((await caller.call(callee.host)).reason).toBe("rule-denies");
  const signedMax = mesh.controlPlane.writer.newest?.size ?? 0;
  expect(signedMax).toBeLessThan(size - 5);

  await mesh.stopControlPlane();
  const copy = await openLogCopy(mesh.agentFolder, mesh.logKey);
  expect(await restoreLog(mesh.logFolder, mesh.genesis, copy)).toMatchObject({ ok: true });
  await mesh.startControlPlane();

  expect((await journalOf(mesh.logFolder, size)).map(String)).toEqual(acknowledged.map(String));
  await mesh.putRule("/shop/web", "/shop/pay");
  await mesh.settled();
  expect((await caller.call(callee.host)).status).toBe(200);
}, 60_000);

test("after a fork people choose where the log goes on; agents and sidecars go back, and calls go on", async () => {
  const { size } = mesh.controlPlane.writer.newest ?? { size: 0 };
  await mesh.putRule("/shop/web", "/shop/pay", { effect: "deny" });
  await mesh.settled();
  await mesh.stopControlPlane();
  await mesh.recover(size);
  await mesh.startControlPlane();

  await until(
    async () => (await mesh.alarms()).filter(({ reason }) => reason === "log-recovered").length >= 3,
    "the agent and both sidecars have gone back",
  );
  await until(async () => (await caller.call(callee.host)).status === 200, "the calls go on");

  await mesh.stopAgent();
  await mesh.startAgent();
  await mesh.putRule("/shop/web", "/shop/pay", { effect: "deny" });
  await until(
    async () => (await caller.call(callee.host)).reason === "rule-denies",
    "the new generation rules",
  );
}, 60_000);

test("a thief of all keys of the control plane sends nobody back, and brings nobody along", async () => {
  const { size } = mesh.controlPlane.writer.newest ?? { size: 0 };
  await mesh.putRule("/shop/web", "/shop/pay", { effect: "deny" });
  await mesh.settled();
  await mesh.stopControlPlane();
  const address = mesh.controlPlaneAddress;

  // To a time when the call was allowed, by a recovery of its own, and by a fork.
  for (const attempt of ["recovery", "fork", "older-log"] as const) {
    await using thief = await Thief.open({
      keys: mesh.keys,
      logFolder: mesh.logFolder,
      genesis: mesh.genesis,
      address,
    });
    await thief.show(attempt, size);
    await until(() => thief.follows >= 3, `the agent comes to the thief's ${attempt}`);
    expect((await caller.call(callee.host)).reason).toBe("rule-denies");
  }

  await mesh.startControlPlane();
  await mesh.putService("/goes/on");
  await mesh.settled();
  expect((await caller.call(callee.host)).reason).toBe("rule-denies");
}, 60_000);
