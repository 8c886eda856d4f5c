import { setTimeout as sleep } from "node:timers/promises";
import { httpCall } from "../../apparatus/http-call.ts";
import { canSeeProcesses, processesMarked, signal } from "../../apparatus/marked-processes.ts";
import { openMesh, openService, statusOf, troth } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const lifetimeSeconds = 20;
/** Past the end of every certificate, however lately it was renewed. */
const spareSeconds = 3;
const backMillisMax = 60_000;
/** So many answers without a failure between them are traffic that has healed. */
const answersInOrder = 50;

/** What a laptop does whose lid is closed: the processes stand still, the clocks go on. */
export const claim: Claim = {
  text: "all processes of a mesh stand still until every certificate has expired; when they go on, traffic heals by itself",
  run: async () => {
    if (!canSeeProcesses()) return skipped("finding the processes takes procfs");
    await using mesh = await openMesh({ kind: "up", args: ["--svid-lifetime", String(lifetimeSeconds)] });
    await using callee = await openService(mesh, "/proof/callee");
    await using caller = await openService(mesh, "/proof/caller");
    const ask = (): ReturnType<typeof httpCall> =>
      httpCall({ address: caller.outboundAddress, host: "callee.proof.mesh", path: "/" });
    const allowed = await troth(mesh.path, "allow", "/proof/caller", "/proof/callee");
    if (allowed.code !== 0) return failed(`troth allow: ${allowed.stderr}`);
    const before = await ask();
    if (before.status !== 200) return failed(`before: ${before.status} ${before.body}`);
    const { treeSize } = await statusOf(mesh.path);

    const pids = [mesh, callee, caller].flatMap(({ command }) =>
      processesMarked(command.mark).map(({ pid }) => pid),
    );
    for (const pid of pids) signal(pid, "SIGSTOP");
    try {
      await sleep((lifetimeSeconds + spareSeconds) * 1000);
    } finally {
      for (const pid of pids) signal(pid, "SIGCONT");
    }

    const started = performance.now();
    const failures = new Map<string, number>();
    let healedMillis = started;
    for (let inOrder = 0; inOrder < answersInOrder; ) {
      const { status, body } = await ask();
      inOrder = status === 200 ? inOrder + 1 : 0;
      if (status === 200) continue;
      healedMillis = performance.now();
      const why = `${status} ${/"reason": *"([a-z-]+)"/.exec(body)?.[1] ?? body.slice(0, 60)}`;
      failures.set(why, (failures.get(why) ?? 0) + 1);
      if (healedMillis - started > backMillisMax)
        return failed(`no answer ${backMillisMax / 1000} s after: ${body}`);
      await sleep(100);
    }
    const healedSeconds = (healedMillis - started) / 1000;
    const after = await statusOf(mesh.path);
    if (after.treeSize <= treeSize) return failed("the log does not grow any more");
    const refused = [...failures].map(([why, count]) => `${count} × ${why}`).join(", ");
    return ok(
      `${pids.length} processes stood still for ${lifetimeSeconds + spareSeconds} s; the last request that failed was ${healedSeconds.toFixed(1)} s after (${refused || "none"})`,
    );
  },
};
