import { afterEach, beforeEach, expect, test } from "vitest";
import { Thief } from "../../test/apparatus/log-thief.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import { ownRoles } from "./index.ts";

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

async function replaceAll(): Promise<Record<(typeof ownRoles)[number], string>> {
  const names = { issuer: "", sequencer: "", server: "" };
  for (const role of ownRoles) {
    names[role] = (await mesh.addOwnKey(role)).name;
    await mesh.put("key.remove", { name: `${mesh.trustDomain}/${role}` });
  }
  await mesh.settled();
  return names;
}

test("every key by which the control plane acts is replaced while it runs, and again after a restart", async () => {
  const names = await replaceAll();

  // An instance is registered by the new issuer, through an agent that has come back to the new server key.
  const other = await mesh.open("/shop/stock");
  await mesh.putRule("/shop/web", "/shop/stock");
  await until(async () => (await caller.call(other.host)).status === 200, "a call to the new instance");
  await mesh.stopControlPlane();
  await mesh.startControlPlane();
  await mesh.putService("/goes/on");
  await mesh.settled();

  const { authors } = mesh.controlPlane.writer.state;
  expect(names).toEqual({
    issuer: `${mesh.trustDomain}/issuer-2`,
    sequencer: `${mesh.trustDomain}/sequencer-2`,
    server: `${mesh.trustDomain}/server-2`,
  });
  expect(authors.get(names.issuer)?.sequence).toBeGreaterThan(0);
  expect(authors.get(names.sequencer)?.sequence).toBeGreaterThan(0);
  expect(await mesh.alarms()).toEqual([]);
  expect((await mesh.addOwnKey("issuer")).name).toBe(`${mesh.trustDomain}/issuer-3`);
}, 60_000);

test("what the removed keys sign is without effect and an alarm, whoever has the log's key too", async () => {
  const { server } = await replaceAll();
  const { size } = mesh.controlPlane.writer.newest ?? { size: 0 };
  await mesh.stopControlPlane();
  const { issuer, sequencer } = mesh.keys;
  await using thief = await Thief.open({
    keys: { log: mesh.logKey, issuer, sequencer, server: await mesh.ownKey(server) },
    logFolder: mesh.logFolder,
    genesis: mesh.genesis,
    address: mesh.controlPlaneAddress,
  });
  await thief.show("own-entries", size);
  await until(() => mesh.agent.view.follower.size >= size + 3, "the agent has the thief's entries");
  await until(() => thief.alarms.length >= 3, "the agent has told");

  expect((await caller.call(callee.host)).status).toBe(200);
  expect(mesh.agent.view.follower.state.instances.size).toBe(2);
  const told = thief.alarms.map((alarm) => alarm.replace(/entry \d+/, "entry"));
  expect(new Set(told)).toEqual(
    new Set(
      ["sequencer", "issuer"].map(
        (role) => `entry-without-effect: entry: unknown-author: ${mesh.trustDomain}/${role}`,
      ),
    ),
  );
}, 60_000);

test("nobody follows who shows a removed server key, though it has the log and the log's key", async () => {
  await replaceAll();
  const { size } = mesh.controlPlane.writer.newest ?? { size: 0 };
  await mesh.stopControlPlane();
  {
    await using thief = await Thief.open({
      keys: mesh.keys,
      logFolder: mesh.logFolder,
      genesis: mesh.genesis,
      address: mesh.controlPlaneAddress,
    });
    await thief.show("older-log", size);
    await until(() => thief.follows >= 3, "the agent comes to the thief");
    expect(thief.calls).toBe(0);
  }
  await mesh.startControlPlane();

  await until(
    async () => (await mesh.alarms()).some(({ reason }) => reason === "unknown-server"),
    "the agent has told of the impostor",
  );
  await mesh.putService("/goes/on");
  await mesh.settled();
}, 60_000);
