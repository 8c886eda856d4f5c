import { afterAll, beforeAll, expect, it } from "vitest";
import {
  logPapers,
  makePapers,
  meet,
  metadataExtension,
  type Papers,
} from "../../test/apparatus/hostile-peer.ts";
import { MeshInProcess } from "../../test/apparatus/mesh-in-process.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import { base64Of } from "../base/bytes.ts";
import { testDomain, testWorld } from "../identity/svid-for-tests.ts";

// A sidecar remembers the certificates that it has checked: none of these may get in on the strength of an earlier visit.

const lifetimeSeconds = 600;
let mesh: MeshInProcess;
let ledger: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  ledger = await mesh.open("/shop/ledger");
  await mesh.putRule("/*", "/shop/ledger");
});
afterAll(() => mesh[Symbol.asyncDispose]());

it("serves a peer that comes back with the certificate of its first visit", async () => {
  const papers = await welcomed("/shop/regular");

  expect((await visit(papers)).answer).toContain("HTTP/1.1 200");
});

it("refuses a peer that comes back after its instance was removed: not-in-log", async () => {
  const papers = await welcomed("/shop/removed");
  const { instance } = papers;

  await mesh.controlPlane.writer.write([{ role: "issuer", kind: "instance.remove", body: { instance } }]);
  await mesh.settled();

  expect(await visit(papers)).toEqual({ answer: "", refusals: ["not-in-log"] });
});

it("denies a peer that comes back after a rule against it", async () => {
  const papers = await welcomed("/shop/banned");

  await mesh.putRule("/shop/banned", "/shop/ledger", { effect: "deny" });
  await mesh.settled();

  expect((await visit(papers)).answer).toContain("HTTP/1.1 403");
});

it("refuses a peer that comes back before its certificate began: not-yet-valid", async () => {
  const papers = await welcomed("/shop/early");

  const met = await visitAt(papers, -lifetimeSeconds);

  expect(met).toEqual({ answer: "", refusals: ["not-yet-valid"] });
});

it("refuses a peer that comes back after its certificate ended: expired", async () => {
  const papers = await welcomed("/shop/late");

  const met = await visitAt(papers, lifetimeSeconds + 1);

  expect(met).toEqual({ answer: "", refusals: ["expired"] });
});

it("refuses a peer under a root that nobody trusts yet, and serves it once the operators do", async () => {
  const { issuer, root } = testDomain("test.example", testWorld(Math.floor(new Date().getTime() / 1000)));
  const papers = await logged("/shop/newcomer", issuer);
  await welcomed("/shop/resident");

  const before = await visit(papers);
  await mesh.put("ca.trust", { certificate: base64Of(root.certificate.der) });
  await mesh.settled();

  expect(before).toEqual({ answer: "", refusals: ["untrusted-issuer"] });
  expect((await visit(papers)).answer).toContain("HTTP/1.1 200");
});

/** Papers that are in the log. */
async function logged(
  service: string,
  authority = mesh.intermediate,
): Promise<Papers & { readonly instance: string }> {
  const { instance } = await mesh.open(service);
  const papers = makePapers(authority, [`spiffe://test.example${service}`], {
    extensions: (usual) => [...usual, metadataExtension(instance, service)],
  });
  await logPapers(mesh, papers, { service, instance });
  await mesh.settled();
  return { ...papers, instance };
}

/** The same, and they have been served. */
async function welcomed(service: string): ReturnType<typeof logged> {
  const papers = await logged(service);
  const first = await visit(papers);
  if (!first.answer.startsWith("HTTP/1.1 200")) throw new Error(`refused at once: ${first.refusals.join()}`);
  return papers;
}

/** A new connection, one request on it, and why it was refused if it was. */
async function visit(papers: Papers): Promise<{ answer: string; refusals: string[] }> {
  const before = await refusals();
  const { answer } = await meet(ledger.sidecar.inboundAddress, papers);
  const after = await refusals();
  return { answer, refusals: reasons.filter((reason) => after.get(reason) !== before.get(reason)) };
}

async function visitAt(papers: Papers, laterSeconds: number): ReturnType<typeof visit> {
  ledger.clock.shiftWall(laterSeconds);
  const met = await visit(papers);
  ledger.clock.shiftWall(-laterSeconds);
  return met;
}

const reasons = ["not-in-log", "log-disagrees", "not-yet-valid", "expired", "untrusted-issuer", "view-stale"];

/** How many refusals there have been for each reason. */
async function refusals(): Promise<Map<string, number>> {
  const name = "troth_proxy_refused_connections_total";
  const count = (reason: string): Promise<number> => ledger.metric(name, { direction: "inbound", reason });
  return new Map(await Promise.all(reasons.map(async (reason) => [reason, await count(reason)] as const)));
}
