import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { endpointOf } from "../../../test/apparatus/known-endpoints.ts";
import { MeshInProcess, until } from "../../../test/apparatus/mesh-in-process.ts";
import { openPlainApp } from "../../../test/apparatus/plain-app.ts";
import type { Workload } from "../../../test/apparatus/workload.ts";
import { openRouterIn, type RouterInProcess } from "../../../test/apparatus/zone-routers.ts";

let mesh: MeshInProcess;
let west: string;
let web: Workload;
let pay: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  west = await mesh.joinNode("west-1");
  await mesh.put("node.zone", { node: "here", zone: "east" });
  await mesh.put("node.zone", { node: "west-1", zone: "west" });
  const app = await openPlainApp({
    answer: (_request, response) => void setTimeout(() => response.end("app"), 5),
  });
  web = await mesh.open("/shop/web");
  pay = await mesh.open("/shop/pay", { agentSocketPath: west, app });
  await mesh.putRule("/shop/web", "/shop/pay");
  await mesh.settled();
}, 30_000);
afterAll(() => mesh[Symbol.asyncDispose]());

const via = async (): Promise<string> => (await endpointOf(web, pay)).via;
const openRouter = async (): Promise<RouterInProcess> => {
  const router = await openRouterIn(mesh, "/mesh/west", { agentSocketPath: west });
  await until(() => isKnown(router), "the router");
  return router;
};
const isKnown = ({ instance }: RouterInProcess): Promise<boolean> =>
  endpointOf(web, { service: "/mesh/west", instance }).then(
    ({ zone }) => zone === "west",
    () => false,
  );

/** Asks one request after the other until `over`; answers with the statuses that were not 200. */
async function askUntil(over: AbortSignal): Promise<{ asked: number; failed: number[] }> {
  const failed: number[] = [];
  let asked = 0;
  while (!over.aborted) {
    const { status } = await web.call(pay.host, { method: "POST", body: "x" });
    asked += 1;
    if (status !== 200) failed.push(status);
  }
  return { asked, failed };
}

it("a router that ends loses no request: callers leave it for another before", async () => {
  await using first = await openRouter();
  await until(async () => (await web.call(pay.host)).status === 200, "a route");
  const before = await via();
  await using second = await openRouter();
  const over = new AbortController();
  const load = askUntil(over.signal);
  await sleep(200);

  await first.router.drain();
  await first[Symbol.asyncDispose]();
  await until(async () => (await via()).includes(second.instance), "the other router");
  await sleep(200);
  over.abort();
  const { asked, failed } = await load;

  expect(before).toContain(first.instance);
  expect(asked).toBeGreaterThan(2);
  expect(failed).toEqual([]);
});

it("where the last router of a zone has gone, its instances are dialled as before", async () => {
  const last = await openRouter();
  await last[Symbol.asyncDispose]();
  await until(async () => (await web.call(pay.host)).status === 200, "a route");

  await until(async () => (await via()) === "", "the direct way");
});

it("a router that drains is left, and come back to when it is resumed", async () => {
  await using router = await openRouter();
  const another = await mesh.open("/shop/another", { agentSocketPath: west });
  await mesh.putRule("/shop/web", another.service);
  await mesh.put("instance.drain", { instance: router.instance });
  await mesh.settled();
  await until(async () => (await web.call(another.host)).status === 200, "a route");
  const drained = (await endpointOf(web, another)).via;
  await another[Symbol.asyncDispose]();

  await mesh.put("instance.resume", { instance: router.instance });
  const next = await mesh.open("/shop/next", { agentSocketPath: west });
  await mesh.putRule("/shop/web", next.service);
  await until(() => isKnown(router), "the router");
  await until(async () => (await web.call(next.host)).status === 200, "a route");

  expect(drained).toBe("");
  expect((await endpointOf(web, next)).via).toContain(router.instance);
  await next[Symbol.asyncDispose]();
});
