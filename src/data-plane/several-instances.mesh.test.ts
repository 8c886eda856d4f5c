import { afterAll, beforeAll, expect, test } from "vitest";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { Workload } from "../../test/apparatus/workload.ts";

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
  await until(async () => (await isCalled(one)) && (await isCalled(other)), "both are called");
}, 30_000);

afterAll(() => mesh[Symbol.asyncDispose]());

async function isCalled(workload: Workload): Promise<boolean> {
  await caller.call(workload.host);
  return workload.app.seen.length > 0;
}

test("a request for an application that has gone reaches another instance, also one that must not be repeated", async () => {
  await one.app.kill();
  const before = other.app.seen.length;

  for (let count = 1; count <= 30; count += 1) {
    const reply = await caller.call(one.host, { method: "POST", body: String(count) });
    expect(reply.status).toBe(200);
  }

  const bodies = other.app.seen.slice(before).map(({ body }) => Number(body));
  expect(bodies).toEqual(Array.from({ length: 30 }, (_, index) => index + 1));
});

test("a request for applications of which two have gone reaches the third", async () => {
  const all = await Promise.all([1, 2, 3].map(() => mesh.open("/shop/stock")));
  await mesh.putRule("/shop/web", "/shop/stock");
  await mesh.settled();
  const left = all[2];
  await until(async () => (await Promise.all(all.map(isCalled))).every((called) => called), "all are called");
  for (const { app } of all.slice(0, 2)) await app.kill();

  for (let count = 1; count <= 10; count += 1) {
    const reply = await caller.call("stock.shop.mesh", { method: "POST", body: String(count) });
    expect(reply.status).toBe(200);
  }

  expect(left?.app.seen.slice(-10).map(({ body }) => Number(body))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test("where every application has gone, the answer says so, and nothing of how the proxies talk", async () => {
  await other.app.kill();

  const reply = await caller.call(one.host, { method: "POST", body: "x" });

  expect([reply.status, reply.reason]).toEqual([502, "upstream-connect-failed"]);
  expect(Object.keys(reply.headers).filter((name) => name.startsWith("troth-"))).toEqual([]);
});
