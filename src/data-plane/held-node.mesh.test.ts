import { afterAll, beforeAll, expect, it } from "vitest";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { Workload } from "../../test/apparatus/workload.ts";

let mesh: MeshInProcess;
let ledger: Workload;
let callers: readonly Workload[];

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  ledger = await mesh.open("/shop/ledger");
  await mesh.putRule("/*", "/shop/ledger");
  await mesh.putRule("/shop/ledger", "/*");
  const agentSocketPath = await mesh.joinNode("edge");
  callers = [
    await mesh.open("/shop/one", { agentSocketPath }),
    await mesh.open("/shop/two", { agentSocketPath }),
  ];
  await allAnswer(200);
}, 30_000);
afterAll(() => mesh[Symbol.asyncDispose]());

it("cuts every identity of a node that is held, and has them back after the lift without a restart", {
  timeout: 30_000,
}, async () => {
  await mesh.put("node.hold", { node: "edge", reason: "key-compromise" });
  await noneIsKnown();
  const held = await Promise.all(callers.map((caller) => caller.call(ledger.host)));
  const toHeld = await ledger.call("one.shop.mesh");

  await mesh.put("node.lift", { node: "edge" });
  await allAnswer(200);

  expect(held.map(({ status }) => status)).not.toContain(200);
  expect(toHeld.status).toBe(503);
  expect((await ledger.call("one.shop.mesh")).status).toBe(200);
});

it("cuts every identity of a node that is removed with one entry, for good", {
  timeout: 30_000,
}, async () => {
  const size = mesh.controlPlane.writer.state.certificates.size;

  await mesh.put("node.remove", { node: "edge" });
  await noneIsKnown();

  const after = await Promise.all(callers.map((caller) => caller.call(ledger.host)));
  expect(after.map(({ status }) => status)).not.toContain(200);
  expect(mesh.controlPlane.writer.state.certificates.size).toBeLessThan(size);
  expect((await ledger.call("one.shop.mesh")).status).toBe(503);
  expect(await ledger.metric("troth_proxy_peer_connections")).toBe(0);
});

async function allAnswer(status: number): Promise<void> {
  for (const caller of callers)
    await until(
      async () => (await caller.call(ledger.host)).status === status,
      `${caller.service} has ${status}`,
    );
  await until(async () => (await ledger.call("one.shop.mesh")).status === status, "the other way");
}

async function noneIsKnown(): Promise<void> {
  const { state } = mesh.controlPlane.writer;
  await until(() => !callers.some(({ instance }) => state.instances.has(instance)), "the log names none");
  await until(
    async () =>
      (await ledger.metric("troth_proxy_tree_size")) >= (mesh.controlPlane.writer.newest?.size ?? 0),
    "the ledger",
  );
}
