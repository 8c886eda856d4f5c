import type http from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { configOf, endpointOf, endpointsOf } from "../../test/apparatus/known-endpoints.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { openPlainApp } from "../../test/apparatus/plain-app.ts";
import type { Workload } from "../../test/apparatus/workload.ts";

let mesh: MeshInProcess;
let caller: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  caller = await mesh.open("/shop/web");
  await mesh.putRule("/shop/web", "/*");
}, 30_000);

afterAll(() => mesh[Symbol.asyncDispose]());

test("an instance that fails is put out, is said to be, and comes back when it is well", async () => {
  const status = { code: 503 };
  const ailing = await openPlainApp({ answer: (_, response) => response.writeHead(status.code).end() });
  const sick = await mesh.open("/shop/pay", { app: ailing });
  const others = [await mesh.open("/shop/pay"), await mesh.open("/shop/pay")];
  await mesh.put("traffic.put", {
    service: "/shop/pay",
    protocol: "http",
    outliers: { consecutiveFailures: 3, ejectSeconds: 1, ejectSecondsMax: 2, ejectPercentMax: 50 },
    routes: [],
  });
  await knows("/shop/pay", 3);

  await until(async () => {
    await caller.call(sick.host);
    return (await endpointOf(caller, sick)).standing === "out";
  }, "it is out");
  const before = ailing.seen.length;
  for (let count = 0; count < 20; count += 1) expect((await caller.call(sick.host)).status).toBe(200);

  expect((await endpointOf(caller, sick)).ejectedFor).toBe("503");
  expect(ailing.seen.length).toBe(before);
  expect(await caller.metric("troth_proxy_ejections_total", { reason: "503" })).toBe(1);
  expect(await caller.metric("troth_proxy_ejected_instances")).toBe(1);

  status.code = 200;
  await until(async () => {
    await caller.call(sick.host);
    return (await endpointOf(caller, sick)).standing === "in";
  }, "it is back");
  for (const { app } of others) expect(app.seen.length).toBeGreaterThan(0);
});

test("no instance has more requests of a caller than it may; the next is told when to come again", async () => {
  const waiting: http.ServerResponse[] = [];
  const app = await openPlainApp({ answer: (_, response) => waiting.push(response) });
  const slow = await mesh.open("/shop/slow", { app });
  await mesh.put("traffic.put", { service: "/shop/slow", protocol: "http", inFlightMax: 2, routes: [] });
  await knows("/shop/slow", 1);

  const first = [caller.call(slow.host), caller.call(slow.host)];
  await until(() => waiting.length === 2);
  const third = await caller.call(slow.host);
  for (const response of waiting) response.end();

  expect([third.status, third.reason, third.headers["retry-after"]]).toEqual([503, "overloaded", "1"]);
  expect((await Promise.all(first)).map(({ status }) => status)).toEqual([200, 200]);
  const fourth = caller.call(slow.host);
  await until(() => waiting.length === 3);
  waiting[2]?.end();
  expect((await fourth).status).toBe(200);
});

test("requests stay in the caller's zone while it has an instance, and come back to it", async () => {
  const agentSocketPath = await mesh.joinNode("there");
  const near = await mesh.open("/shop/stock");
  const far = await mesh.open("/shop/stock", { agentSocketPath });
  await mesh.put("node.zone", { node: "here", zone: "east" });
  await mesh.put("node.zone", { node: "there", zone: "west" });
  await knows("/shop/stock", 2);
  await until(async () => (await configOf(caller)).zone === "east");

  const home = await sharesOf([near, far]);
  await mesh.put("instance.drain", { instance: near.instance });
  await until(async () => (await sharesOf([near, far], 5))[1] === 5, "all goes elsewhere");
  await mesh.put("instance.resume", { instance: near.instance });
  await until(async () => (await sharesOf([near, far], 5))[0] === 5, "it is back home");

  expect(home).toEqual([40, 0]);
  expect((await endpointOf(caller, far)).zone).toBe("west");
  expect(await caller.metric("troth_proxy_routed_requests_total", { zone: "same" })).toBeGreaterThan(40);
  expect(await caller.metric("troth_proxy_routed_requests_total", { zone: "other" })).toBeGreaterThanOrEqual(
    5,
  );
});

test("an instance that keeps a policy's attempts waiting is put out for it", async () => {
  const fast = await mesh.open("/shop/late");
  const silent = await mesh.open("/shop/late", { app: await openPlainApp({ answer: () => {} }) });
  await mesh.put("traffic.put", {
    service: "/shop/late",
    protocol: "http",
    retries: { retriesMax: 1, attemptMillis: 100, on: ["timeout"], methods: [] },
    outliers: { consecutiveFailures: 2, ejectSeconds: 60, ejectSecondsMax: 60, ejectPercentMax: 50 },
    routes: [],
  });
  await mesh.putRule("/shop/*", "/shop/late");
  await knows("/shop/late", 2);

  await until(async () => {
    await caller.call(fast.host);
    const known = await endpointsOf(caller, "/shop/late");
    return known.some(({ instance, standing }) => instance === silent.instance && standing === "out");
  }, "the silent one is out");
  const [out] = (await endpointsOf(caller, "/shop/late")).filter(
    ({ instance }) => instance === silent.instance,
  );

  expect(out?.ejectedFor).toBe("timeout");
});

test("no request is lost under load while an instance drains, is resumed, and ends", async () => {
  const delayed = (_: http.IncomingMessage, response: http.ServerResponse): void => {
    setTimeout(() => response.end("ok"), 20);
  };
  const one = await mesh.open("/shop/busy", { app: await openPlainApp({ answer: delayed }) });
  const other = await mesh.open("/shop/busy", { app: await openPlainApp({ answer: delayed }) });
  await knows("/shop/busy", 2);
  const seen = new Map<number, number>();
  const ending = new AbortController();
  const load = Array.from({ length: 8 }, async () => {
    while (!ending.signal.aborted) {
      const { status } = await caller.call(one.host, { method: "POST", body: "x" });
      seen.set(status, (seen.get(status) ?? 0) + 1);
    }
  });
  const answered = (): number => seen.get(200) ?? 0;
  const more = async (): Promise<void> => {
    const from = answered();
    await until(() => answered() > from + 40);
  };

  await more();
  await mesh.put("instance.drain", { instance: one.instance });
  await more();
  await mesh.put("instance.resume", { instance: one.instance });
  await more();
  await other.sidecar.drain();
  await other[Symbol.asyncDispose]();
  await more();
  ending.abort();
  await Promise.all(load);

  expect([...seen.keys()]).toEqual([200]);
});

/** Waits until the caller knows of so many instances, and has all entries that there are. */
async function knows(service: string, count: number): Promise<void> {
  await mesh.settled();
  await until(async () => (await endpointsOf(caller, service)).length === count, "they are known");
}

/** How many of so many calls each gets. */
async function sharesOf(workloads: readonly Workload[], calls = 40): Promise<number[]> {
  const before = workloads.map(({ app }) => app.seen.length);
  for (let count = 0; count < calls; count += 1) await caller.call(workloads[0]?.host ?? "");
  return workloads.map(({ app }, index) => app.seen.length - (before[index] ?? 0));
}
