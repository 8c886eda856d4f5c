import { createClient } from "@connectrpc/connect";
import { afterEach, beforeEach, expect, test } from "vitest";
import { meet, type Papers } from "../../test/apparatus/hostile-peer.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import { buildCertificateRequest, generateP256, parseCertificate, pemOfPrivateKey } from "../crypto/index.ts";
import { Mesh } from "../protocol/index.ts";
import { openRpcConnection, pemOfCertificate } from "../transport/index.ts";

const service = "/shop/pay";
let mesh: MeshInProcess;
let caller: Workload;
let robbed: Workload;
let beside: Workload;
const ended: string[] = [];

beforeEach(async () => {
  ended.length = 0;
  mesh = await MeshInProcess.found({ svidLifetimeSeconds: 6 });
  caller = await mesh.open("/shop/web");
  robbed = await mesh.open(service, { revoked: (reason) => ended.push(`robbed: ${reason}`) });
  beside = await mesh.open(service, { revoked: (reason) => ended.push(`beside: ${reason}`) });
  await mesh.putRule("/shop/web", service);
  await mesh.putRule(service, "/shop/web");
  await until(async () => (await caller.call(robbed.host)).status === 200, "the first call");
}, 30_000);

afterEach(() => mesh[Symbol.asyncDispose]());

/** What somebody with a copy of a sidecar's memory asks for: the next certificate of its line, for a key of their own. */
async function renewAsThief(instance: string): Promise<Papers> {
  const row = mesh.controlPlane.writer.state.instances.get(instance);
  const { privateKey } = generateP256();
  using connection = await openRpcConnection({ kind: "unix", path: mesh.agentSocketPath });
  const { chain } = await createClient(Mesh, connection.transport).issueSvid({
    instance,
    service,
    certificateRequest: buildCertificateRequest(privateKey),
    auditKey: row?.auditKey ?? "",
    generation: row?.generation ?? 0,
  });
  const leaf = parseCertificate(chain[0] ?? new Uint8Array(0));
  if (!leaf.ok) throw new Error(leaf.reason);
  const { serial, sha256, notAfterSeconds } = leaf.value;
  const cert = chain.map(pemOfCertificate).join("");
  return { cert, key: pemOfPrivateKey(privateKey), sha256, serial, notAfterSeconds };
}

test("two who renew one line lock that one instance, thief and owner, and its service goes on without it", async () => {
  const stolen = await renewAsThief(robbed.instance);
  const isServed = async (): Promise<boolean> =>
    (await meet(caller.sidecar.inboundAddress, stolen)).answer.includes("HTTP/1.1 200");
  await until(isServed, "the thief is taken for the owner");

  // The owner asks for the next one within half of a certificate's life, as the holder of what is not the last.
  await until(() => ended.length > 0, "the owner asks");
  await until(() => !mesh.agent.view.follower.state.instances.has(robbed.instance), "every view has it");

  expect(ended).toEqual([expect.stringMatching(/^robbed: /)]);
  expect((await mesh.alarms()).map(({ reason }) => reason)).toContain("lineage-forked");
  const { instances, revocations } = mesh.controlPlane.writer.state;
  expect(revocations.get(`instance:${robbed.instance}`)?.reason).toBe("key-compromise");
  expect(instances.has(beside.instance)).toBe(true);
  await expect(renewAsThief(robbed.instance)).rejects.toThrow("instance-revoked");
  expect(await isServed()).toBe(false);

  const seen = beside.app.seen.length;
  for (let count = 0; count < 20; count += 1) expect((await caller.call(beside.host)).status).toBe(200);
  expect(beside.app.seen.length).toBe(seen + 20);
}, 60_000);
