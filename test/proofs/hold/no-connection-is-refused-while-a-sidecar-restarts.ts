import { setTimeout as sleep } from "node:timers/promises";
import { connectionPerRequest } from "../../apparatus/connection-per-request.ts";
import { canSeeProcesses, processesMarked, signal } from "../../apparatus/marked-processes.ts";
import { openMesh, openService, type RunningService, troth } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const requestsPerSecond = 100;
const killsShort = 5;
const killsFull = 20;
const betweenMillis = 3_000;

/** Every request has a connection of its own, so each would meet a port on which nobody listens. */
export const claim: Claim = {
  text: "a caller's sidecar killed again and again under load: no connection is refused, and no request is lost but those in flight on the killed process (--full: 20 times)",
  run: async ({ isFull }) => {
    if (!canSeeProcesses()) return skipped("finding the processes takes procfs");
    const kills = isFull ? killsFull : killsShort;
    await using mesh = await openMesh({ kind: "up" });
    await using _callee = await openService(mesh, "/proof/callee");
    await using caller = await openService(mesh, "/proof/caller");
    const allowed = await troth(mesh.path, "allow", "/proof/caller", "/proof/callee");
    if (allowed.code !== 0) return failed(`troth allow: ${allowed.stderr}`);

    const killedMillis: number[] = [];
    let isOver = false;
    const killing = (async (): Promise<void> => {
      for (let round = 0; round < kills; round += 1) {
        await sleep(betweenMillis);
        const [pid] = sidecarsOf(caller);
        if (pid === undefined) continue;
        signal(pid, "SIGKILL");
        killedMillis.push(performance.now());
      }
      await sleep(betweenMillis);
      isOver = true;
    })();
    const requests = await connectionPerRequest({
      address: caller.outboundAddress,
      host: "callee.proof.mesh",
      requestsPerSecond,
      isOver: () => isOver,
    });
    await killing;

    const lost = requests.filter(({ outcome }) => outcome !== "200");
    const unexcused = lost.filter(
      ({ connectedMillis, endedMillis }) =>
        !killedMillis.some(
          (at) => connectedMillis !== undefined && connectedMillis <= at && endedMillis >= at,
        ),
    );
    const waitedMillis = Math.max(...requests.map((one) => one.endedMillis - one.startedMillis));
    const figure =
      `${killedMillis.length} kills, ${requests.length} connections, 0 refused, ` +
      `${lost.length} lost in flight, longest wait ${(waitedMillis / 1000).toFixed(1)} s`;
    if (killedMillis.length < kills) return failed(`the sidecar was not back in time: ${figure}`);
    if (unexcused.length === 0) return ok(figure);
    const seen = [...new Set(unexcused.map(({ outcome }) => outcome))].join(", ");
    return failed(`${unexcused.length} lost that were not in flight (${seen}): ${figure}`);
  },
};

function sidecarsOf(service: RunningService): number[] {
  return processesMarked(service.command.mark)
    .filter(({ command }) => command[2] === "sidecar")
    .map(({ pid }) => pid);
}
