import { setTimeout as sleep } from "node:timers/promises";
import { canSeeProcesses, processesMarked, signal } from "../../apparatus/marked-processes.ts";
import { openLoopLoad } from "../../apparatus/open-loop-load.ts";
import {
  openMesh,
  openService,
  type RunningService,
  servingInstance,
  troth,
} from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const requestsPerSecond = 200;
const killsShort = 4;
const killsFull = 20;
const betweenMillis = 4_000;
/** The application answers at once, so at this rate a handful of requests can be under way at any moment. */
const inFlightMax = 4;

/** Both instances in turn; what was never sent, or may be repeated, goes to the other one. */
export const claim: Claim = {
  text: "of two instances of a service one is killed again and again under load: callers lose at most the requests in flight on it (--full: 20 times)",
  run: async ({ isFull }) => {
    if (!canSeeProcesses()) return skipped("finding the processes takes procfs");
    const kills = isFull ? killsFull : killsShort;
    await using mesh = await openMesh({ kind: "up" });
    await using one = await openService(mesh, "/proof/callee");
    await using other = await openService(mesh, "/proof/callee");
    await using caller = await openService(mesh, "/proof/caller");
    const allowed = await troth(mesh.path, "allow", "/proof/caller", "/proof/callee");
    if (allowed.code !== 0) return failed(`troth allow: ${allowed.stderr}`);
    await servingInstance(mesh.path, "/proof/callee");

    let done = 0;
    let isOver = false;
    const killing = (async (): Promise<void> => {
      for (let round = 0; round < kills; round += 1) {
        await sleep(betweenMillis);
        const [pid] = sidecarsOf(round % 2 === 0 ? one : other);
        if (pid === undefined) continue;
        signal(pid, "SIGKILL");
        done += 1;
      }
      await sleep(betweenMillis);
      isOver = true;
    })();
    const load = await openLoopLoad({
      outboundAddress: caller.outboundAddress,
      host: "callee.proof.mesh",
      requestsPerSecond,
      isOver: () => isOver,
    });
    await killing;
    const figure = `${done} kills, ${load.requests} requests, ${load.failures} lost, p99 ${load.millisP99.toFixed(1)} ms`;
    if (done < kills) return failed(`an instance was not back in time: ${figure}`);
    return load.failures <= inFlightMax * done ? ok(figure) : failed(`${figure}: ${load.seen.join("; ")}`);
  },
};

function sidecarsOf(service: RunningService): number[] {
  return processesMarked(service.command.mark)
    .filter(({ command }) => command[2] === "sidecar")
    .map(({ pid }) => pid);
}
