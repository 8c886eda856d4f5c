import http from "node:http";
import tls from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  logPapers,
  makePapers,
  meet,
  metadataExtension,
  type Papers,
} from "../../test/apparatus/hostile-peer.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { Workload } from "../../test/apparatus/workload.ts";

let mesh: MeshInProcess;
let ledger: Workload;
let one: Workload;
let other: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  ledger = await mesh.open("/shop/ledger");
  one = await mesh.open("/shop/pay");
  other = await mesh.open("/shop/pay");
  await mesh.putRule("/*", "/*");
  await mesh.settled();
  await until(async () => (await served(one)) > 0 && (await served(other)) > 0, "both are called");
  await until(async () => (await one.call(ledger.host)).status === 200, "and call");
}, 30_000);
afterAll(() => mesh[Symbol.asyncDispose]());

/** Calls once, and says how many requests an instance has answered so far. */
async function served(workload: Workload): Promise<number> {
  await ledger.call(workload.host);
  return workload.metric("troth_proxy_requests_total", { direction: "inbound" });
}

function decisionOn({ instance }: Workload): number {
  return mesh.controlPlane.writer.state.standings.get(instance)?.decision ?? 0;
}

async function quarantine({ instance }: Workload): Promise<number> {
  await mesh.put("instance.quarantine", { instance, reason: "compromised", evidence: {} });
  await mesh.settled();
  return mesh.controlPlane.writer.state.standings.get(instance)?.decision ?? 0;
}

async function release(workload: Workload, decision = decisionOn(workload)): Promise<void> {
  await mesh.put("instance.release", { instance: workload.instance, decision });
  await mesh.settled();
}

/** A request whose body never ends; resolves when it is over. */
function openRequest(caller: Workload, host: string): Promise<void> {
  const [address, port] = caller.sidecar.outboundAddress.split(":");
  return new Promise((resolve) => {
    const request = http.request({ host: address, port, method: "POST", headers: { host }, agent: false });
    request.on("response", (response) => response.resume());
    request.on("error", () => {});
    request.on("close", () => resolve());
    request.write("half of it");
  });
}

test("a quarantined instance is called by nobody and calls nobody, and its open requests are cut", {
  timeout: 20_000,
}, async () => {
  const bytesBefore = ledger.app.bytes();
  const outOfIt = openRequest(one, ledger.host);
  await until(() => ledger.app.bytes() > bytesBefore, "a request is open");

  await quarantine(one);
  await outOfIt;

  const before = await one.metric("troth_proxy_requests_total", { direction: "inbound" });
  for (let count = 0; count < 20; count += 1) expect((await ledger.call(one.host)).status).toBe(200);
  const own = await one.call(ledger.host);
  expect([own.status, own.reason]).toEqual([403, "quarantined"]);
  expect(await one.metric("troth_proxy_requests_total", { direction: "inbound" })).toBe(before);
  expect(await one.metric("troth_proxy_peer_connections")).toBe(0);
  await release(one);
  await until(async () => (await one.call(ledger.host)).status === 200, "it calls again");
  await until(async () => (await served(one)) > before, "it is called again");
});

test("requests into a quarantined instance are cut as well, and where it is the only one nothing serves", {
  timeout: 20_000,
}, async () => {
  const lonely = await mesh.open("/shop/lonely");
  await until(async () => (await ledger.call(lonely.host)).status === 200, "a route");
  const bytesBefore = lonely.app.bytes();
  const intoIt = openRequest(ledger, lonely.host);
  await until(() => lonely.app.bytes() > bytesBefore, "a request is open");

  await quarantine(lonely);
  await intoIt;

  const reply = await ledger.call(lonely.host);
  expect([reply.status, reply.reason]).toEqual([503, "no-instances"]);
  await lonely[Symbol.asyncDispose]();
});

/** Papers that the log names as those of an instance, in other hands than its sidecar's. */
async function stolenFrom({ service, instance }: Workload): Promise<Papers> {
  const papers = makePapers(mesh.intermediate, [`spiffe://test.example${service}`], {
    extensions: (usual) => [...usual, metadataExtension(instance, service)],
  });
  await logPapers(mesh, papers, { service, instance });
  await mesh.settled();
  return papers;
}

test("a thief's open connection is cut where it ends, whatever the sidecar does that he has it from", async () => {
  const papers = await stolenFrom(one);
  const [host, port] = ledger.sidecar.inboundAddress.split(":");
  const socket = tls.connect({ host, port: Number(port), rejectUnauthorized: false, ...papers });
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.once("close", resolve));
  const answered = new Promise((resolve) => socket.once("data", (bytes) => resolve(String(bytes))));
  socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(await answered).toContain("HTTP/1.1 200");

  await quarantine(one);
  await closed;

  await release(one);
});

test("a quarantined instance lets nobody in, also one who has not heard of it", async () => {
  const papers = await stolenFrom(other);
  const before = await meet(one.sidecar.inboundAddress, papers);

  await quarantine(one);

  const during = await meet(one.sidecar.inboundAddress, papers);
  expect([before.answer.slice(0, 12), during.answer]).toEqual(["HTTP/1.1 200", ""]);
  await release(one);
});

test("a thief with a quarantined instance's papers is refused by everybody, whatever sidecar he uses", async () => {
  const papers = await stolenFrom(one);
  const before = await meet(ledger.sidecar.inboundAddress, papers);

  await quarantine(one);

  for (const { sidecar } of [ledger, other])
    expect((await meet(sidecar.inboundAddress, papers)).answer).toBe("");
  expect(before.answer).toContain("HTTP/1.1 200");
  expect(await ledger.metric("troth_proxy_refused_connections_total", { reason: "quarantined" })).toBe(1);
  await release(one);
});

test("nobody obtains papers for a quarantined instance, nor registers it anew once it is gone", async () => {
  await quarantine(one);
  const { writer } = mesh.controlPlane;
  const { instance } = one;
  const register = { instance, service: "/shop/pay", node: "here", auditKey: "" };
  const before = writer.state.instances.get(instance);

  await writer.write([{ role: "issuer", kind: "instance.remove", body: { instance } }]);
  const again = await writer.write([{ role: "issuer", kind: "instance.register", body: register }]);

  expect(again).toMatchObject({ ok: false, reason: "conflict" });
  expect(before).toBeDefined();
  await release(one);
  await until(async () => (await one.call(ledger.host)).status === 200, "its return");
});

test("a release that names an older decision has no effect", async () => {
  const old = await quarantine(one);
  await release(one, old);
  await quarantine(one);

  await expect(release(one, old)).rejects.toThrow(/is in force, not/);

  expect((await one.call(ledger.host)).reason).toBe("quarantined");
  await release(one);
});

test("a degraded instance is called only now and then while there are others, and always where there are none", {
  timeout: 20_000,
}, async () => {
  const { instance } = one;
  await until(async () => (await served(one)) > 0, "it is called");
  await mesh.put("instance.degrade", { instance, reason: "slow", evidence: { p90Millis: 900 } });
  await mesh.settled();
  const before = await one.metric("troth_proxy_requests_total", { direction: "inbound" });

  for (let count = 0; count < 100; count += 1) expect((await ledger.call(one.host)).status).toBe(200);

  const during = (await one.metric("troth_proxy_requests_total", { direction: "inbound" })) - before;
  expect(during).toBeLessThan(20);
  await quarantine(other);
  expect((await ledger.call(one.host)).status).toBe(200);
  await release(other);
  await release(one);
});
