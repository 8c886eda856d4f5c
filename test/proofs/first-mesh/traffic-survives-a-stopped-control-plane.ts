import { setTimeout as sleep } from "node:timers/promises";
import { readMetric } from "../../apparatus/http-call.ts";
import { canSeeProcesses, signal } from "../../apparatus/marked-processes.ts";
import { openLoopLoad } from "../../apparatus/open-loop-load.ts";
import { openMesh, openService, processesOf, troth } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const outageSeconds = 30;
const requestsPerSecond = 200;
const recoverMillisMax = 30_000;

/** Stopped, not killed: what is connected to it hangs, which is the harder case, and nobody restarts it. */
export const claim: Claim = {
  text: "traffic survives 30 s without a control plane with no failed request, while the proxies' staleness metric says that there is no news",
  run: async () => {
    if (!canSeeProcesses()) return skipped("finding the process takes procfs");
    await using mesh = await openMesh({ kind: "up" });
    await using callee = await openService(mesh, "/proof/callee");
    await using caller = await openService(mesh, "/proof/caller");
    const allowed = await troth(mesh.path, "allow", "/proof/caller", "/proof/callee");
    if (allowed.code !== 0) return failed(`troth allow: ${allowed.stderr}`);
    const staleness = (): Promise<number> =>
      readMetric(callee.status.adminAddress, "troth_proxy_view_staleness_seconds");

    const [pid] = processesOf(mesh, "control-plane");
    if (pid === undefined) return failed("there is no control plane process");
    signal(pid, "SIGSTOP");
    const before = await staleness();
    const started = performance.now();
    const load = await openLoopLoad({
      outboundAddress: caller.outboundAddress,
      host: "callee.proof.mesh",
      requestsPerSecond,
      isOver: () => performance.now() - started > outageSeconds * 1000,
    });
    const during = await staleness();
    signal(pid, "SIGCONT");
    const backAt = performance.now();
    let after = during;
    while (after >= 10 && performance.now() - backAt < recoverMillisMax) {
      await sleep(200);
      after = await staleness();
    }
    const figure =
      `${load.requests} requests, ${load.failures} failed, p99 ${load.millisP99.toFixed(1)} ms; staleness ${before.toFixed(0)} s, ` +
      `${during.toFixed(0)} s at the end, ${after.toFixed(0)} s ${((performance.now() - backAt) / 1000).toFixed(0)} s after it went on`;
    const doesShow = during >= before + outageSeconds - 1 && after < 10;
    return load.failures === 0 && doesShow ? ok(figure) : failed(`${figure} ${load.seen.join("; ")}`);
  },
};
