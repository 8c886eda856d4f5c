import http from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openDeceitfulAgent } from "../../test/apparatus/deceitful-agent.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { openPlainApp } from "../../test/apparatus/plain-app.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import type { Update } from "../protocol/index.ts";

let mesh: MeshInProcess;
let front: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  front = await mesh.open("/shop/front");
  await mesh.putRule("/*", "/*");
});
afterAll(() => mesh[Symbol.asyncDispose]());

it("takes no request of its application before it is told who serves where", async () => {
  const socketPath = join(mesh.folder, "silent.sock");
  let held: Update | undefined;
  await using agent = await openDeceitfulAgent(socketPath, mesh.agentSocketPath, (update) => {
    if (update.content.case !== "endpoints") return update;
    held = update;
    return undefined;
  });
  const { instances } = mesh.controlPlane.writer.state;
  const before = instances.size;
  let isOpen = false;
  const opening = mesh.open("/shop/waiting", { agentSocketPath: socketPath }).then((workload) => {
    isOpen = true;
    return workload;
  });
  await until(() => instances.size > before && held !== undefined, "its SVID");
  await sleep(200);
  const wasOpen = isOpen;

  if (held !== undefined) agent.say(held);
  await using waiting = await opening;

  expect(wasOpen).toBe(false);
  expect((await waiting.call(front.host)).status).toBe(200);
});

it("spreads requests over the instances and goes on when one of them dies", async () => {
  const apps = [await openPlainApp({ name: "one" }), await openPlainApp({ name: "two" })] as const;
  const one = await mesh.open("/shop/stock", { app: apps[0] });
  const two = await mesh.open("/shop/stock", { app: apps[1] });
  const bodies = new Set<string>();
  await until(async () => bodies.add((await front.call(one.host)).body).has("one") && bodies.has("two"));

  await one[Symbol.asyncDispose]();
  const replies: number[] = [];
  for (let call = 0; call < 50; call += 1) replies.push((await front.call(two.host)).status);

  expect(new Set(replies)).toEqual(new Set([200]));
  await two[Symbol.asyncDispose]();
});

it("takes an application that is down out of the routes, and says so, and takes it back", async () => {
  const app = await openPlainApp({ name: "weak" });
  const weak = await mesh.open("/shop/weak", { app });
  await until(async () => (await front.call(weak.host)).status === 200, "a route");

  await app.kill();
  const atOnce = await front.call(weak.host);
  await until(async () => (await front.call(weak.host)).reason === "no-instances", "the withdrawal");
  const back = await openPlainApp({ name: "back", port: app.port });
  await until(async () => (await front.call(weak.host)).body === "back", "the return");
  await back.kill();

  expect(atOnce).toMatchObject({ status: 502, reason: "upstream-connect-failed" });
  await weak[Symbol.asyncDispose]();
});

it("finishes what is under way when it drains, though it is out of the routes by then", async () => {
  let finish = (): void => {};
  const app = await openPlainApp({
    answer: (request, response) => {
      if (request.url !== "/slow") return response.end("quick");
      response.write("begun ");
      finish = () => response.end("ended");
      return response;
    },
  });
  const slow = await mesh.open("/shop/slow", { app });
  await until(async () => (await front.call(slow.host)).status === 200, "a route");
  const agent = new http.Agent({ keepAlive: true });
  const calling = front.call(slow.host, { path: "/slow", agent });
  await until(() => app.seen.some(({ line }) => line === "GET /slow"), "the request");

  let hasDrained = false;
  const draining = slow.sidecar.drain().then(() => {
    hasDrained = true;
  });
  await until(async () => (await front.call(slow.host)).reason === "no-instances", "the withdrawal");
  await sleep(300);
  const hadDrainedEarly = hasDrained;
  finish();

  expect(await calling).toMatchObject({ status: 200, body: "begun ended" });
  expect(hadDrainedEarly).toBe(false);
  await draining;
  agent.destroy();
  await slow[Symbol.asyncDispose]();
});

it("leaves no timer and no socket behind", async () => {
  const before = countOf(process.getActiveResourcesInfo());

  const workload = await mesh.open("/shop/leaving");
  await until(async () => (await front.call(workload.host)).status === 200, "a route");
  await workload.call(front.host);
  await workload[Symbol.asyncDispose]();
  await until(async () => (await front.call(workload.host)).status !== 200, "the withdrawal");
  await until(() => {
    const after = countOf(process.getActiveResourcesInfo());
    return [...after].every(
      ([kind, count]) => count <= (before.get(kind) ?? 0) + (kind === "Timeout" ? 1 : 0),
    );
  }, "the end of its resources");
});

it("is ready once it has the log and an SVID, and not when it has no news", async () => {
  const workload = await mesh.open("/shop/ready");
  const statusOf = async (): Promise<string> => {
    const answer = await fetch(`http://${workload.sidecar.adminAddress}/readyz`);
    return `${answer.status} ${await answer.text()}`;
  };
  const before = await statusOf();

  workload.clock.shiftMonotonic(24 * 3600 + 1);

  expect(before).toBe("200 ok\n");
  expect(await statusOf()).toMatch(/^503 .*\[-\] freshness: no new epoch for [0-9]+ s\n/s);
  await workload[Symbol.asyncDispose]();
});

function countOf(kinds: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}
