import { setTimeout as sleep } from "node:timers/promises";
import { demoMesh } from "../../apparatus/demo-mesh.ts";
import { httpCall } from "../../apparatus/http-call.ts";
import { canSeeProcesses, signal } from "../../apparatus/marked-processes.ts";
import { outboundAddressOf, processesOf, type RunningMesh, statusOf } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

/** The application behind which all others are. */
const appFile = "ledger.ts";
const backMillisMax = 20_000;

/** Each is killed and comes back as another process; a sidecar comes back as another instance of its service. */
export const claim: Claim = {
  text: "a killed control plane, node agent, sidecar or application of the demo is started again and does its work again",
  uses: [demoMesh],
  run: async () => {
    if (!canSeeProcesses()) return skipped("finding the processes takes procfs");
    const mesh = await demoMesh.get();
    const seen: string[] = [];
    for (const what of ["control-plane", "node-agent", "sidecar", appFile]) {
      const [pid, ...others] = processesOf(mesh, what);
      if (pid === undefined) return failed(`there is no ${what}`);
      const before = (await statusOf(mesh.path)).treeSize;
      signal(pid, "SIGKILL");
      const started = performance.now();
      const isBack = async (): Promise<boolean> => {
        const now = processesOf(mesh, what);
        return now.length === others.length + 1 && !now.includes(pid) && (await doesWork(mesh, before));
      };
      while (!(await isBack())) {
        if (performance.now() - started > backMillisMax)
          return failed([...seen, `${what} not back after ${backMillisMax / 1000} s`].join(", "));
        await sleep(100);
      }
      seen.push(`${what} ${((performance.now() - started) / 1000).toFixed(1)} s`);
    }
    return ok(`back and at work after: ${seen.join(", ")}`);
  },
};

/** Every sidecar reports through the agent to the control plane, at the size of the log, and the shop sells. */
async function doesWork(mesh: RunningMesh, sizeMin: number): Promise<boolean> {
  try {
    const { instances, nodes, treeSize } = await statusOf(mesh.path);
    const serving = new Set(instances.filter(({ isServing }) => isServing).map(({ service }) => service));
    const isUpToDate = instances.every(({ isServing, size }) => !isServing || size >= sizeMin);
    const isConnected = nodes.every((node) => node.isConnected && node.size > sizeMin);
    if (!isConnected || serving.size < 6 || !isUpToDate || treeSize <= sizeMin) return false;
    const path = "/buy?item=tea&region=eu";
    const address = outboundAddressOf(mesh, "/shop/load");
    return (await httpCall({ address, host: "web.shop.mesh", path })).status < 500;
  } catch {
    return false;
  }
}
