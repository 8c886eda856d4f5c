import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../../src/cli/free-port.ts";
import { checkOf } from "../../apparatus/check-report.ts";
import { fakedTime } from "../../apparatus/faked-time.ts";
import { openMesh, repository, startTroth, statusOf } from "../../apparatus/running-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const waitMillisMax = 45_000;
const epochMillis = 12_000;

/** A day, in both directions, on the control plane and on a machine of the mesh. */
export const claim: Claim = {
  text: "a clock that is wrong by a day is named: by a control plane that issues no epoch with it, and by a sidecar in its readiness; all goes on when it is right again",
  run: async () => {
    const [behind, ahead] = [fakedTime("-1d"), fakedTime("+1d")];
    if (behind === undefined || ahead === undefined) return skipped("libfaketime is not installed");
    await using folder = await temporaryFolder();
    const path = join(folder.path, "mesh");
    const seen: string[] = [];
    {
      await using mesh = await openMesh({ kind: "up", path });
      const port = await freePort();
      const app = [process.execPath, join(repository, "test", "apparatus", "small-app.ts")];
      const run = ["run", "--service", "/proof/early", "--outbound-port", String(port), "--", ...app];
      await using _early = startTroth(mesh.path, run, ahead);
      const line = await until(async () => {
        const { lines } = await checkOf(path, "--proxy", "/proof/early");
        return lines.find(({ error }) => error?.includes("24 h ahead of the trust log's epochs") === true)
          ?.error;
      });
      if (line === undefined) return failed("the sidecar does not say that its clock is ahead");
      seen.push(`sidecar: "${line}"`);
    }
    {
      await using _mesh = await openMesh({ kind: "up", path, env: behind });
      const alarm = await until(async () =>
        (await statusOf(path)).alarms.find(({ reason }) => reason === "clock-disagrees"),
      );
      if (alarm === undefined) return failed("a control plane a day behind raises no alarm");
      const before = (await statusOf(path)).treeSize;
      await sleep(epochMillis);
      if ((await statusOf(path)).treeSize !== before) return failed("it issued an epoch a day behind");
      const log = await readFile(join(path, "logs", "control-plane.log"), "utf8");
      if (!log.includes("the trust log's last epoch is of")) return failed("its log does not say why");
      seen.push(`control plane: "${alarm.detail}"`);
    }
    await using mesh = await openMesh({ kind: "up", path });
    const { treeSize } = await statusOf(mesh.path);
    const isOn = await until(async () => ((await statusOf(path)).treeSize > treeSize ? true : undefined));
    return isOn === true ? ok(seen.join("; ")) : failed("no epoch after the clock was put right");
  },
};

async function until<Value>(look: () => Promise<Value | undefined>): Promise<Value | undefined> {
  const deadline = performance.now() + waitMillisMax;
  for (;;) {
    const found = await look().catch(() => undefined);
    if (found !== undefined || performance.now() > deadline) return found;
    await sleep(250);
  }
}
