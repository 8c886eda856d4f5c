import { afterAll, beforeAll, expect, test } from "vitest";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { openPlainApp, type PlainApp } from "../../test/apparatus/plain-app.ts";
import type { Workload } from "../../test/apparatus/workload.ts";

const answerMillis = 15;
const parallel = 16;

let mesh: MeshInProcess;
let caller: Workload;
let one: Workload;
let other: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  caller = await mesh.open("/shop/web");
  one = await mesh.open("/shop/pay", { app: await openSlowApp() });
  other = await mesh.open("/shop/pay", { app: await openSlowApp() });
  await mesh.putRule("/shop/web", "/shop/pay");
  await mesh.settled();
  await until(async () => (await isCalled(one)) && (await isCalled(other)), "both are called");
}, 30_000);

afterAll(() => mesh[Symbol.asyncDispose]());

function openSlowApp(): Promise<PlainApp> {
  return openPlainApp({
    answer: (_, response) => void setTimeout(() => response.end("paid"), answerMillis),
  });
}

async function isCalled(workload: Workload): Promise<boolean> {
  await caller.call(workload.host);
  return workload.app.seen.length > 0;
}

test("an application that is killed under load loses no GET, whether it was waiting or had been sent", async () => {
  const statuses = new Map<number, number>();
  let isKilled = false;
  const ask = async (count: number): Promise<void> => {
    for (let asked = 0; asked < count; asked += 1) {
      const { status } = await caller.call(one.host);
      if (isKilled) statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  };
  // So that all connections to the application have carried a request: one that fails at its first may be to blame.
  await Promise.all(Array.from({ length: parallel }, () => ask(4)));
  const asked = Promise.all(Array.from({ length: parallel }, () => ask(12)));
  await new Promise((resolve) => setTimeout(resolve, 2 * answerMillis));
  isKilled = true;
  await one.app.kill();
  await asked;

  expect([...statuses.keys()]).toEqual([200]);
});
