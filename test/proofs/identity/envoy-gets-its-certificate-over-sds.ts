import { setTimeout as sleep } from "node:timers/promises";
import { missingForeign } from "../../apparatus/foreign-proxy.ts";
import { until } from "../../apparatus/mesh-in-process.ts";
import { openSdsEnvoy } from "../../apparatus/sds-envoy.ts";
import { askSteadily } from "../../apparatus/steady-requests.ts";
import { ask } from "../../apparatus/workload.ts";
import { foundWorkloadMesh, putWorkload, workloadAddress } from "../../apparatus/workload-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const service = "/shop/envoy";
const svidLifetimeSeconds = 8;

export const claim: Claim = {
  text: "an unmodified Envoy has nothing but the agent's SDS, calls a sidecar over mutual TLS through rotations without a failed request, goes on after its certificate was revoked, and is cut when its service is held",
  run: async ({ isFull }) => {
    const missing = missingForeign("envoy");
    if (missing !== undefined) return skipped(missing);
    await using folder = await temporaryFolder();
    await using mesh = await foundWorkloadMesh({ svidLifetimeSeconds });
    await using ledger = await mesh.open("/shop/ledger");
    await mesh.putService(service);
    await mesh.putRule(service, "/shop/ledger");
    await putWorkload(mesh, "envoy", { service });
    await using peer = await openSdsEnvoy({
      folder: folder.path,
      agent: workloadAddress(mesh).slice("tcp://".length),
      to: ledger.sidecar.inboundAddress,
      peerId: "spiffe://test.example/shop/ledger",
      trustDomain: mesh.trustDomain,
    });
    const [host = "", port] = peer.address.split(":");
    const target = { host, port: Number(port), path: "/" };
    const status = (): Promise<number> =>
      ask(target).then(
        (reply) => reply.status,
        () => 0,
      );
    const ours = (): string[] =>
      [...mesh.controlPlane.writer.state.certificates.entries()]
        .filter(([, { spiffeId }]) => spiffeId === `spiffe://test.example${service}`)
        .map(([sha256]) => sha256);
    await until(async () => (await status()) === 200, `Envoy calls the sidecar (${peer.command.tail()})`);

    const seen = new Set(ours());
    const load = askSteadily(target, { keepsConnections: false });
    const end = performance.now() + (isFull ? 120_000 : 14_000);
    while (performance.now() < end) {
      await sleep(200);
      for (const sha256 of ours()) seen.add(sha256);
    }
    const { requests, failures } = await load.stop();
    if (failures.length > 0) return failed(`${failures.length} of ${requests} failed: ${failures[0]}`);
    if (seen.size < 2) return failed("it was not rotated");

    const before = ours();
    for (const certificate of before)
      await mesh.put("svid.revoke", { certificate, reason: "key-compromise" });
    const revokedMillis = performance.now();
    await until(
      async () => (await status()) === 200 && ours().some((one) => !before.includes(one)),
      "it goes on",
    );
    const backMillis = performance.now() - revokedMillis;

    await mesh.put("service.hold", { name: service, reason: "key-compromise" });
    const heldMillis = performance.now();
    await until(async () => (await status()) !== 200, "it is cut");
    const cutMillis = performance.now() - heldMillis;
    return ok(
      `${requests} requests under ${seen.size} certificates, none failed; served again ${backMillis.toFixed(0)} ms after a revocation; cut ${cutMillis.toFixed(0)} ms after the hold`,
    );
  },
};
