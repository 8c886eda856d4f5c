import http from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import { openPlainApp } from "../../test/apparatus/plain-app.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import type { InstanceFinding, ResourceReport } from "../protocol/index.ts";

let mesh: MeshInProcess;
let caller: Workload;
let pay: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  caller = await mesh.open("/shop/web");
  const app = await openPlainApp({
    answer: ({ url }, response) => {
      if (url === "/held") return;
      response.writeHead(url === "/fail" ? 500 : 200).end("paid");
    },
  });
  pay = await mesh.open("/shop/pay", { app });
  await mesh.putRule("/*", "/*");
  await mesh.putRule("/shop/web", "/shop/pay", { effect: "deny", paths: ["/denied"] });
  await mesh.settled();
  await until(async () => (await caller.call(pay.host)).status !== 503, "a route");
}, 30_000);
afterAll(() => mesh[Symbol.asyncDispose]());

async function told(): Promise<{ readonly report: ResourceReport; readonly finding: InstanceFinding }> {
  const { followers, findings } = await mesh.status();
  const report = followers.find(({ instance }) => instance === pay.instance)?.resources;
  const finding = findings.find(({ instance }) => instance === pay.instance);
  if (report === undefined || finding === undefined) throw new Error("nothing is told of it");
  return { report, finding };
}

test("a sidecar reports what its application has and how it answered, and callers' proxies what they saw", {
  timeout: 30_000,
}, async () => {
  const [host, port] = caller.sidecar.outboundAddress.split(":");
  const held = http.get({ host, port, path: "/held", headers: { host: pay.host }, agent: false });
  held.on("error", () => {});
  await until(async () => (await told()).report.inFlight === 1, "one is in flight");

  // The first report of a caller says how much it has counted so far; what comes after that is new.
  for (let count = 0; count < 20; count += 1) await caller.call(pay.host, { path: "/fail" });
  for (let count = 0; count < 5; count += 1) await caller.call(pay.host, { path: "/denied" });
  await until(
    async () => (await told()).finding.callerFailures >= 20n,
    "the caller has told of its failures",
  );
  await until(async () => (await told()).report.errors >= 20, "the sidecar has told of them");

  const { report, finding } = await told();
  expect(report.health).toBe("healthy");
  // What was denied never was the application's.
  expect(report.errors).toBe(20);
  expect(Number(finding.callerRequests)).toBeGreaterThanOrEqual(20);
  expect(report.p50Millis).toBeGreaterThan(0);
  expect(report.p99Millis).toBeGreaterThanOrEqual(report.p50Millis);

  held.destroy();
  await until(async () => (await told()).report.inFlight === 0, "none is in flight any more");
  expect((await told()).report.errors).toBe(20);
});
