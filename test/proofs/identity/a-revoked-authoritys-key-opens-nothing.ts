import { hexOf } from "../../../src/base/bytes.ts";
import { sha256 } from "../../../src/crypto/index.ts";
import { certificateAuthoritiesOf } from "../../../src/trust-log/index.ts";
import { logPapers, makePapers, meet, metadataExtension, type Papers } from "../../apparatus/hostile-peer.ts";
import { MeshInProcess, until } from "../../apparatus/mesh-in-process.ts";
import type { Workload } from "../../apparatus/workload.ts";
import { type Claim, failed, ok } from "../claim.ts";

const callees = 6;
const service = "/proof/thief";

/** The thief signs with the intermediate's key and enters each certificate into the log with the issuer's. */
export const claim: Claim = {
  text: "who has the key of a revoked intermediate, and those of issuer and log besides, is refused by every proxy, whatever he has the log say",
  run: async () => {
    await using mesh = await MeshInProcess.found();
    await mesh.putRule("/*", "/*");
    const all = await Promise.all(
      Array.from({ length: callees }, (_, at) => mesh.open(`/proof/callee-${at + 1}`)),
    );
    const thief = await mesh.open(service);
    const { instance } = thief;
    const before = await acceptedBy(all, await logged(mesh, instance, undefined));
    if (before !== callees) return failed(`before the revocation only ${before} of ${callees} accepted it`);

    const next = await mesh.addAuthority("intermediate");
    const authority = hexOf(sha256(mesh.intermediate.certificate.der));
    await mesh.put("ca.revoke", { authority, reason: "ca-compromise" });
    const honest = all[0];
    await until(
      async () => honest !== undefined && (await thief.call(honest.host)).status === 200,
      "an answer",
    );

    const nextKeyId = certificateAuthoritiesOf(mesh.controlPlane.writer.state).find(({ id }) => id === next);
    const claims = [undefined, nextKeyId?.certificate.subjectKeyId, "00".repeat(20)];
    let accepted = 0;
    for (const claimed of claims) accepted += await acceptedBy(all, await logged(mesh, instance, claimed));
    const attempts = claims.length * callees;
    if (accepted > 0) return failed(`${accepted} of ${attempts} attempts were served`);
    const alarms = (await mesh.alarms()).filter(({ reason }) => reason === "revoked-authority");
    if (alarms.length === 0) return failed("nobody was told");
    return ok(
      `${callees} of ${callees} proxies served it before the revocation, and 0 of ${attempts} freshly logged attempts after (no authority named, another one, an invented one); honest calls went on, ${alarms.length} alarms`,
    );
  },
};

async function acceptedBy(all: readonly Workload[], papers: Papers): Promise<number> {
  const encounters = await Promise.all(all.map(({ sidecar }) => meet(sidecar.inboundAddress, papers)));
  return encounters.filter(({ answer }) => answer.includes("HTTP/1.1 200")).length;
}

/** A good certificate of the founding intermediate's key, in the log under the authority that is claimed. */
async function logged(mesh: MeshInProcess, instance: string, claimed: string | undefined): Promise<Papers> {
  const papers = makePapers(mesh.intermediate, [`spiffe://${mesh.trustDomain}${service}`], {
    extensions: (usual) => [...usual, metadataExtension(instance, service)],
  });
  if (claimed === undefined) await logPapers(mesh, papers, { service, instance });
  else {
    const { writer } = mesh.controlPlane;
    const body = {
      certificate: papers.sha256,
      spiffeId: `spiffe://${mesh.trustDomain}${service}`,
      instance,
      serial: papers.serial,
      notBeforeSeconds: papers.notAfterSeconds - 600,
      notAfterSeconds: papers.notAfterSeconds,
      authorityKeyId: claimed,
      generation: (writer.state.instances.get(instance)?.generation ?? 0) + 1,
      keySha256: papers.sha256,
    };
    const written = await writer.write([{ role: "issuer", kind: "svid.put", body }]);
    if (!written.ok) throw new Error(`${written.reason} ${written.detail}`);
  }
  await mesh.settled();
  return papers;
}
