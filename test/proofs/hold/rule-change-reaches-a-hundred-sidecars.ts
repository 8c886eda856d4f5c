import { OperatorClient } from "../../../src/cli/operator-client.ts";
import { canSeeProcesses } from "../../apparatus/marked-processes.ts";
import { openMesh } from "../../apparatus/running-mesh.ts";
import { openSidecarFleet } from "../../apparatus/sidecar-fleet.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const services = 50;
const instancesPerService = 2;
const changesFull = 100;
const changesShort = 20;
const changeMillisMax = 10_000;
const warmUpChanges = 3;

/** Real proxy processes; what they share is the machine and the application behind them. */
export const claim: Claim = {
  text: "each of 20 rule changes is acknowledged by every one of a hundred sidecars (--full: 100 changes)",
  limitSeconds: 420,
  run: async (context) => {
    if (!canSeeProcesses()) return skipped("measuring the sidecars' memory takes procfs");
    await using mesh = await openMesh({ kind: "up" });
    await using fleet = await openSidecarFleet(mesh, { services, instancesPerService });
    const sidecars = fleet.sidecars.length;
    context.note(`${sidecars} sidecars serve after ${fleet.startSeconds.toFixed(1)} s`);

    using client = await OperatorClient.open(mesh.directory);
    const latencies: number[] = [];
    const acknowledgements: number[] = [];
    const changes = context.isFull ? changesFull : changesShort;
    for (let change = 1 - warmUpChanges; change <= changes; change += 1) {
      const effect = change % 2 === 0 ? "allow" : "deny";
      const body = { from: "/fleet/service-1", to: "/fleet/service-2", effect, methods: [], paths: [] };
      const started = performance.now();
      const { size } = await client.append([{ kind: "rule.put", body }]);
      // What `troth wait` does.
      const { reached, known, byFollower } = await client.waitForProxies(size, changeMillisMax);
      if (reached !== sidecars || known !== sidecars)
        return failed(`change ${change}: acknowledged by ${reached} of ${known} known, ${sidecars} running`);
      if (change <= 0) continue;
      latencies.push(performance.now() - started);
      acknowledgements.push(...byFollower.map(({ millis }) => millis));
    }
    const memory = fleet.residentBytes().map((bytes) => bytes / 1024 ** 2);
    return ok(
      `${changes} changes, each acknowledged by ${sidecars} of ${sidecars}; an acknowledgement after ${percentilesOf(acknowledgements)}; ` +
        `from append to the last one ${percentilesOf(latencies)}; ${sidecars} sidecars started in ${fleet.startSeconds.toFixed(0)} s, ` +
        `a sidecar holds ${memory[Math.floor(memory.length / 2)]?.toFixed(0)} MiB (max ${memory.at(-1)?.toFixed(0)})`,
    );
  },
};

function percentilesOf(millis: readonly number[]): string {
  const sorted = millis.toSorted((left, right) => left - right);
  const at = (share: number): string =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(0);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`;
}
