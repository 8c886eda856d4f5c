import { afterAll, beforeAll, expect, test } from "vitest";
import { processesMarked } from "../../test/apparatus/marked-processes.ts";
import {
  openMesh,
  openService,
  type RunningMesh,
  servingInstance,
  statusOf,
  troth,
} from "../../test/apparatus/running-mesh.ts";

const endMillisMax = 20_000;
let mesh: RunningMesh;

beforeAll(async () => {
  mesh = await openMesh({ kind: "up" });
}, 120_000);

afterAll(() => mesh[Symbol.asyncDispose](), 60_000);

async function revoke(instance: string): Promise<void> {
  const args = ["identity", "revoke", instance, "--reason", "key-compromise", "--wait", "--yes"];
  const { code, stderr } = await troth(mesh.path, ...args);
  if (code !== 0) throw new Error(stderr);
}

test("troth run ends its application and exits with 6 where its instance is revoked", async () => {
  await using service = await openService(mesh, "/shop/pay");
  await revoke(service.status.instance);

  const { code, stderr } = await service.command.ended(endMillisMax);

  expect(code).toBe(6);
  expect(stderr).toContain("this instance was revoked (key-compromise) and never counts again");
  await expect.poll(() => processesMarked(service.command.mark), { timeout: endMillisMax }).toEqual([]);
}, 90_000);

test("troth run --when-revoked new-instance goes on as another instance, with the same application", async () => {
  await using service = await openService(mesh, "/shop/web", { args: ["--when-revoked", "new-instance"] });
  const { instance } = service.status;
  const pids = appsOf(service.command.mark);
  await revoke(instance);

  await expect
    .poll(async () => (await statusOf(mesh.path)).instances.map((one) => one.instance), {
      timeout: endMillisMax,
    })
    .not.toContain(instance);
  const next = await servingInstance(mesh.path, "/shop/web");

  expect(next.instance).not.toBe(instance);
  expect(appsOf(service.command.mark)).toEqual(pids);
}, 90_000);

function appsOf(mark: string): number[] {
  return processesMarked(mark)
    .filter(({ command }) => command.some((part) => part.endsWith("small-app.ts")))
    .filter(({ command }) => !command.includes("run"))
    .map(({ pid }) => pid);
}
