import { afterAll, beforeAll, expect, test } from "vitest";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { ask, type Workload } from "../../test/apparatus/workload.ts";

let mesh: MeshInProcess;
let caller: Workload;
let one: Workload;
let other: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  caller = await mesh.open("/shop/web");
  one = await mesh.open("/shop/pay");
  other = await mesh.open("/shop/pay");
  await mesh.putRule("/shop/web", "/shop/pay");
  await mesh.settled();
  await until(async () => (await served(one)) > 0 && (await served(other)) > 0, "both are called");
}, 30_000);

afterAll(() => mesh[Symbol.asyncDispose]());

/** Calls once, and says how many requests an instance has answered so far. */
async function served(workload: Workload): Promise<number> {
  await caller.call(workload.host);
  return workload.metric("troth_proxy_requests_total", { direction: "inbound" });
}

async function readiness(workload: Workload): Promise<string> {
  const [host, port] = workload.sidecar.adminAddress.split(":");
  const { status, body } = await ask({ host, port, path: "/readyz", agent: false });
  return `${status} ${body}`;
}

test("an instance that drains gets nothing new and is not ready; once resumed it is called again", async () => {
  await mesh.put("instance.drain", { instance: one.instance });
  await mesh.settled();
  const before = await one.metric("troth_proxy_requests_total", { direction: "inbound" });

  for (let count = 0; count < 30; count += 1) expect((await caller.call(one.host)).status).toBe(200);

  expect(await one.metric("troth_proxy_requests_total", { direction: "inbound" })).toBe(before);
  expect(await readiness(one)).toMatch(/^503 [^]*draining/);
  expect(await readiness(other)).toMatch(/^200/);

  await mesh.put("instance.resume", { instance: one.instance });
  await mesh.settled();

  await until(async () => (await served(one)) > before, "the resumed instance is called");
  expect(await readiness(one)).toMatch(/^200/);
});

test("where all instances drain, callers are told that nothing serves", async () => {
  for (const { instance } of [one, other]) await mesh.put("instance.drain", { instance });
  await mesh.settled();

  const reply = await caller.call(one.host);

  expect([reply.status, reply.reason]).toEqual([503, "no-instances"]);
});
