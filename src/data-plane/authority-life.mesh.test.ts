import { afterAll, beforeAll, expect, it } from "vitest";
import {
  logPapers,
  makePapers,
  meet,
  metadataExtension,
  type Papers,
} from "../../test/apparatus/hostile-peer.ts";
import { MeshInProcess, until } from "../../test/apparatus/mesh-in-process.ts";
import type { Workload } from "../../test/apparatus/workload.ts";
import { hexOf } from "../base/bytes.ts";
import { sha256 } from "../crypto/index.ts";
import { type CertificateRow, certificateAuthoritiesOf } from "../trust-log/index.ts";

let mesh: MeshInProcess;
let front: Workload;
let ledger: Workload;

beforeAll(async () => {
  mesh = await MeshInProcess.found();
  [front, ledger] = await Promise.all([mesh.open("/shop/front"), mesh.open("/shop/ledger")]);
  await mesh.putRule("/*", "/shop/ledger");
  await until(async () => (await front.call(ledger.host)).status === 200, "a route");
}, 30_000);
afterAll(() => mesh[Symbol.asyncDispose]());

/** A good certificate for the front's instance, by whoever has the key of the founding intermediate. */
function forged(): Papers {
  return makePapers(mesh.intermediate, ["spiffe://test.example/shop/front"], {
    extensions: (usual) => [...usual, metadataExtension(front.instance, "/shop/front")],
  });
}

/** The newest certificate of each instance is of the authority with this key identifier. */
function areAllOf(keyId: string): boolean {
  const newest = new Map<string, CertificateRow>();
  for (const [, row] of mesh.controlPlane.writer.state.certificates.entries())
    if (
      row.authorityKeyId !== undefined &&
      row.notAfterSeconds >= (newest.get(row.instance)?.notAfterSeconds ?? 0)
    )
      newest.set(row.instance, row);
  return newest.size === 2 && [...newest.values()].every((row) => row.authorityKeyId === keyId);
}

it("goes from one chain of authorities to another while it serves, and refuses the old one's key for ever", async () => {
  const before = await meet(ledger.sidecar.inboundAddress, await loggedAs(forged(), undefined));
  await mesh.addAuthority("root");
  const next = await mesh.addAuthority("intermediate");
  const keyId = keyIdOf(next);
  const old = hexOf(sha256(mesh.root.certificate.der));

  await mesh.put("ca.taint", { authority: old });
  await until(() => areAllOf(keyId), "certificates of the new authority");
  await mesh.settled();
  const whileTainted = await front.call(ledger.host);
  await mesh.put("ca.revoke", { authority: old, reason: "key-compromise" });
  await mesh.settled();
  await until(async () => (await front.call(ledger.host)).status === 200, "an answer");

  const refused = await meet(ledger.sidecar.inboundAddress, await loggedAs(forged(), undefined));
  expect(before.answer).toContain("HTTP/1.1 200");
  expect(whileTainted.status).toBe(200);
  expect(refused.answer).toBe("");
}, 40_000);

it("refuses what a revoked intermediate's key signs, whichever authority the log says it is of", async () => {
  await using second = await MeshInProcess.found();
  const callee = await second.open("/shop/ledger");
  const caller = await second.open("/shop/front");
  await second.putRule("/*", "/shop/ledger");
  const next = await second.addAuthority("intermediate");
  const authorityKeyId = keyIdOf(next, second);
  await second.put("ca.revoke", {
    authority: hexOf(sha256(second.intermediate.certificate.der)),
    reason: "ca-compromise",
  });
  await until(async () => (await caller.call(callee.host)).status === 200, "an answer");

  const refusals: string[] = [];
  for (const claimed of [undefined, authorityKeyId]) {
    const papers = makePapers(second.intermediate, ["spiffe://test.example/shop/front"], {
      extensions: (usual) => [...usual, metadataExtension(caller.instance, "/shop/front")],
    });
    await loggedAs(papers, claimed, { mesh: second, instance: caller.instance });
    await second.settled();
    const { answer } = await meet(callee.sidecar.inboundAddress, papers);
    refusals.push(answer);
  }

  expect(refusals).toEqual(["", ""]);
  await until(
    async () => (await callee.audit()).some(({ reason }) => reason === "revoked-authority"),
    "a record",
  );
  await until(
    async () => (await second.alarms()).some(({ reason }) => reason === "revoked-authority"),
    "an alarm",
  );
}, 40_000);

function keyIdOf(authority: string, { controlPlane }: MeshInProcess = mesh): string {
  const all = certificateAuthoritiesOf(controlPlane.writer.state);
  return all.find(({ id }) => id === authority)?.certificate.subjectKeyId ?? "none";
}

async function loggedAs(
  papers: Papers,
  authorityKeyId: string | undefined,
  who: { readonly mesh: MeshInProcess; readonly instance: string } = { mesh, instance: front.instance },
): Promise<Papers> {
  if (authorityKeyId === undefined) {
    await logPapers(who.mesh, papers, { service: "/shop/front", instance: who.instance });
    return papers;
  }
  const { writer } = who.mesh.controlPlane;
  const { generation = 0 } = writer.state.instances.get(who.instance) ?? {};
  const body = {
    certificate: papers.sha256,
    spiffeId: "spiffe://test.example/shop/front",
    instance: who.instance,
    serial: papers.serial,
    notBeforeSeconds: papers.notAfterSeconds - 600,
    notAfterSeconds: papers.notAfterSeconds,
    authorityKeyId,
    generation: generation + 1,
    keySha256: "00".repeat(32),
  };
  const written = await writer.write([{ role: "issuer", kind: "svid.put", body }]);
  if (!written.ok) throw new Error(written.detail);
  return papers;
}
