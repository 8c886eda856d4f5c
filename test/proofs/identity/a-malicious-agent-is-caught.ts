import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { buildCertificateRequest, generateP256 } from "../../../src/crypto/index.ts";
import { Mesh, type Update, UpdateSchema } from "../../../src/protocol/index.ts";
import { openRpcConnection } from "../../../src/transport/index.ts";
import { openDeceitfulAgent } from "../../apparatus/deceitful-agent.ts";
import { logPapers, makePapers, meet, metadataExtension } from "../../apparatus/hostile-peer.ts";
import { MeshInProcess, until } from "../../apparatus/mesh-in-process.ts";
import { shiftedClock } from "../../apparatus/shifted-clock.ts";
import { type Claim, failed, ok } from "../claim.ts";

/** Beyond the bound at which data of class "internal" is refused: a day. */
const dayAndMore = 86_400 + 600;

/** What an agent tries, and what came of it; empty where it was caught. */
type Attempt = (mesh: MeshInProcess) => Promise<string>;

const attempts: Readonly<Record<string, Attempt>> = {
  "asks for an instance of another node": asksForAnother,
  "changes an entry": changesAnEntry,
  "shows an older log again": showsAnOlderLog,
  "hides a revocation": hidesARevocation,
};

/** One agent after the other, each between real sidecars and the real control plane. */
export const claim: Claim = {
  text: "an agent that asks for another node's identity, changes an entry, shows an older log or hides a revocation is caught by the issuer or its sidecars",
  run: async () => {
    await using mesh = await MeshInProcess.found();
    const uncaught: string[] = [];
    for (const [what, attempt] of Object.entries(attempts)) {
      const outcome = await attempt(mesh);
      if (outcome !== "") uncaught.push(`${what}: ${outcome}`);
    }
    return uncaught.length === 0
      ? ok(
          `${Object.keys(attempts).length} of ${Object.keys(attempts).length}: ${Object.keys(attempts).join(", ")}`,
        )
      : failed(uncaught.join("; "));
  },
};

async function asksForAnother(mesh: MeshInProcess): Promise<string> {
  const victim = await mesh.open("/claim/victim");
  const socket = await mesh.joinNode("elsewhere");
  using connection = await openRpcConnection({ kind: "unix", path: socket });
  const client = createClient(Mesh, connection.transport);
  const { auditKey = "" } = mesh.controlPlane.writer.state.instances.get(victim.instance) ?? {};
  const ask = (): Promise<unknown> =>
    client.issueSvid({
      instance: victim.instance,
      service: victim.service,
      certificateRequest: buildCertificateRequest(generateP256().privateKey),
      auditKey,
      generation: 1,
    });
  let refusal = "";
  await until(async () => {
    refusal = await ask().then(
      () => "issued",
      (error: unknown) => String(error),
    );
    return !refusal.includes("no control plane");
  }, "the other agent's connection");
  const isAlarmed = (await mesh.alarms()).some(
    ({ reason, detail }) => reason === "identity-refused" && detail.includes(victim.instance),
  );
  const isStill = mesh.controlPlane.writer.state.instances.has(victim.instance);
  return refusal.includes("other-instance") && isAlarmed && isStill ? "" : `${refusal}, alarm: ${isAlarmed}`;
}

async function changesAnEntry(mesh: MeshInProcess): Promise<string> {
  let isChanging = false;
  await using agent = await openDeceitfulAgent(
    join(mesh.folder, `${randomUUID().slice(0, 8)}.sock`),
    mesh.agentSocketPath,
    (update) => withChangedEntry(update, isChanging),
  );
  await using workload = await mesh.open("/claim/changed", { agentSocketPath: agent.socketPath });
  isChanging = true;
  const before = await workload.metric("troth_proxy_tree_size");
  await mesh.putRule("/claim/changed", "/claim/victim");
  await until(() => agent.follows() > 1, "the sidecar's leaving");
  const after = await workload.metric("troth_proxy_tree_size");
  return after === before ? "" : "a changed entry was folded";
}

function withChangedEntry(update: Update, isChanging: boolean): Update {
  const { content } = update;
  if (!isChanging || content.case !== "step" || content.value.entries.length === 0) return update;
  const entries = content.value.entries.map((entry) =>
    entry.map((byte, place) => (place === 40 ? byte ^ 1 : byte)),
  );
  return create(UpdateSchema, { content: { case: "step", value: { ...content.value, entries } } });
}

async function showsAnOlderLog(mesh: MeshInProcess): Promise<string> {
  let old: Update | undefined;
  await using agent = await openDeceitfulAgent(
    join(mesh.folder, `${randomUUID().slice(0, 8)}.sock`),
    mesh.agentSocketPath,
    (update) => {
      if (update.content.case === "step") old ??= update;
      return update;
    },
  );
  await using workload = await mesh.open("/claim/older", { agentSocketPath: agent.socketPath });
  await mesh.putRule("/claim/older", "/claim/victim");
  await until(() => agent.reported() !== undefined, "a report");
  const { checkpoint = new Uint8Array(0) } = old?.content.case === "step" ? old.content.value : {};
  const size = BigInt(await workload.metric("troth_proxy_tree_size"));
  const [follows, before] = [agent.follows(), size];
  agent.say(
    create(UpdateSchema, { content: { case: "step", value: { firstIndex: size, entries: [], checkpoint } } }),
  );
  await until(() => agent.follows() > follows, "the sidecar's leaving");
  return BigInt(await workload.metric("troth_proxy_tree_size")) >= before ? "" : "it went back";
}

async function hidesARevocation(mesh: MeshInProcess): Promise<string> {
  let isHiding = false;
  await using agent = await openDeceitfulAgent(
    join(mesh.folder, `${randomUUID().slice(0, 8)}.sock`),
    mesh.agentSocketPath,
    (update) => (isHiding && update.content.case === "step" ? undefined : update),
  );
  const clock = shiftedClock();
  await using callee = await mesh.open("/claim/blind", { agentSocketPath: agent.socketPath, clock });
  const service = "/claim/revoked";
  const { instance } = await mesh.open(service);
  await mesh.putRule(service, "/claim/blind");
  // Its own sidecar hears of the revocation, so the certificate is shown past it, as a thief of the key would.
  const papers = makePapers(mesh.intermediate, [`spiffe://${mesh.trustDomain}${service}`], {
    extensions: (usual) => [...usual, metadataExtension(instance, service)],
  });
  await logPapers(mesh, papers, { service, instance });
  const ask = async (): Promise<string> => (await meet(callee.sidecar.inboundAddress, papers)).answer;
  await until(async () => (await ask()).includes("200"), "an answer");
  isHiding = true;
  await mesh.put("instance.revoke", { instance, reason: "key-compromise" });
  const revokedSize = mesh.controlPlane.writer.tree.size;
  const hidden = await ask();
  const hasReceipt = Number(agent.reported()?.size ?? 0n) >= revokedSize;
  clock.shiftMonotonic(dayAndMore);
  const after = await ask();
  // While it is hidden nobody is told that it has ended there, and the freshness bound ends it.
  return hidden.includes("200") && !hasReceipt && after === "" ? "" : `${hidden}, ${hasReceipt}, ${after}`;
}
