import { afterAll, beforeAll, expect, test } from "vitest";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { openPlainApp } from "../../test/apparatus/plain-app.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import { pathCheck } from "./watch-app.ts";

let mesh: MeshInProcess;
let caller: Workload;
let one: Workload;
let other: Workload;
let isWell = true;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  caller = await mesh.open("/shop/web");
  const app = await openPlainApp({
    answer: ({ url }, response) =>
      void response.writeHead(url === "/healthz" && !isWell ? 503 : 200).end("paid"),
  });
  const health = { ...pathCheck, path: "/healthz", intervalMillis: 50 };
  one = await mesh.open("/shop/pay", { app, health });
  other = await mesh.open("/shop/pay");
  await mesh.putRule("/*", "/*");
  await mesh.settled();
  await until(async () => (await caller.call(one.host)).status === 200, "a route");
  await until(async () => (await served(one)) > 0 && (await served(other)) > 0, "both are called");
}, 30_000);
afterAll(() => mesh[Symbol.asyncDispose]());

/** Calls once, and says how many requests an instance has answered so far. */
async function served(workload: Workload): Promise<number> {
  expect((await caller.call(one.host)).status).toBe(200);
  return workload.metric("troth_proxy_requests_total", { direction: "inbound" });
}

/** Whether three calls in a row, of two instances, leave one alone. */
async function isLeftAlone(workload: Workload): Promise<boolean> {
  const before = await workload.metric("troth_proxy_requests_total", { direction: "inbound" });
  for (let count = 0; count < 30; count += 1) await served(workload);
  return (await served(workload)) === before;
}

test("an application that is not healthy is not called, with no entry in the log, and is again once it is", {
  timeout: 20_000,
}, async () => {
  const entries = (): number =>
    mesh.controlPlane.writer.state.instances.size + mesh.controlPlane.writer.state.standings.size;
  const before = entries();

  isWell = false;
  await until(() => isLeftAlone(one), "nobody calls it");

  expect((await one.call(other.host)).status).toBe(200);
  isWell = true;
  await until(async () => !(await isLeftAlone(one)), "it is called again");
  expect(entries()).toBe(before);
});
