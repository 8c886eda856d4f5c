import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { AppendingOperator } from "../../apparatus/appending-operator.ts";
import { httpCall } from "../../apparatus/http-call.ts";
import { leavesOnDisk } from "../../apparatus/journal-entries.ts";
import { canSeeProcesses, signal } from "../../apparatus/marked-processes.ts";
import {
  openMesh,
  outboundAddressOf,
  processesOf,
  type RunningMesh,
  statusOf,
  troth,
} from "../../apparatus/running-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, type Outcome, ok, skipped } from "../claim.ts";

const appends = 40;
const noticedMillisMax = 60_000;

/** The copy is put in place while the control plane stands still, which is then killed and started again over it. */
export const claim: Claim = {
  text: "an older copy of the log that is put back under a running mesh is refused, alarmed and without effect, and troth log recover brings everything back",
  limitSeconds: 300,
  run: async () => {
    if (!canSeeProcesses()) return skipped("finding the processes takes procfs");
    await using folder = await temporaryFolder();
    const path = join(folder.path, "mesh");
    const seen = await rollBack(path, join(folder.path, "older"));
    if ("verdict" in seen) return seen;
    const recovery = await troth(path, "log", "recover", "--from", join(path, "agent"), "-o", "json");
    if (recovery.code !== 0)
      return failed(`troth log recover ended with ${recovery.code}: ${recovery.stderr}`);
    const { recovered } = JSON.parse(recovery.stdout);
    return await recover(path, { ...seen, recovered: Number(recovered) });
  },
};

interface Seen {
  readonly acknowledged: readonly string[];
  readonly size: number;
  readonly olderSize: number;
  readonly noticedMillis: number;
}

async function rollBack(path: string, older: string): Promise<Seen | Outcome> {
  await using mesh = await openMesh({ kind: "demo", path, env: { LOAD_RATE: "5" } });
  const operator = await AppendingOperator.founder(mesh);
  const [controlPlane] = processesOf(mesh, "control-plane");
  if (controlPlane === undefined) return failed("there is no control plane");
  signal(controlPlane, "SIGSTOP");
  await cp(join(path, "control-plane"), older, { recursive: true });
  signal(controlPlane, "SIGCONT");
  const olderSize = (await statusOf(path)).treeSize;
  for (let number = 0; number < appends; number += 1)
    await operator.append("rule.put", ruleAbout(`/proof/caller-${number}`));
  operator.close();
  await untilEverybodyHas(mesh, operator.acknowledged.at(-1)?.size ?? 0);
  const { treeSize: size } = await statusOf(path);

  signal(controlPlane, "SIGSTOP");
  await rm(join(path, "control-plane"), { recursive: true });
  await cp(older, join(path, "control-plane"), { recursive: true });
  signal(controlPlane, "SIGKILL");
  const started = performance.now();
  while (!(await isAlarmed(path))) {
    if (performance.now() - started > noticedMillisMax) return failed("no alarm log-rolled-back");
    await sleep(100);
  }
  const noticedMillis = performance.now() - started;
  const refused = await troth(path, "allow", "/shop/mallory", "/shop/ledger", "--no-wait");
  if (refused.code !== 1 || !refused.stderr.includes("troth log recover"))
    return failed(`an append was not refused: ${refused.code} ${refused.stderr}`);
  const { treeSize, instances } = await statusOf(path);
  if (treeSize > olderSize + 2) return failed(`the older log went on, to ${treeSize}`);
  if (instances.some((instance) => instance.isServing && instance.size < size))
    return failed("a sidecar went back with it");
  const sale = await httpCall({
    address: outboundAddressOf(mesh, "/shop/load"),
    host: "web.shop.mesh",
    path: "/buy?item=tea&region=eu",
  });
  if (sale.status === 0) return failed(`traffic stopped: ${sale.body}`);
  return { acknowledged: operator.acknowledged.map(({ leaf }) => leaf), size, olderSize, noticedMillis };
}

async function recover(
  path: string,
  { acknowledged, size, olderSize, noticedMillis, recovered }: Seen & { readonly recovered: number },
): Promise<Outcome> {
  await using mesh = await openMesh({ kind: "demo", path, env: { LOAD_RATE: "5" } });
  await untilEverybodyHas(mesh, size);
  const leaves = new Set(await leavesOnDisk(join(path, "control-plane", "log", "segments")));
  const lost = acknowledged.filter((leaf) => !leaves.has(leaf)).length;
  if (lost > 0) return failed(`${lost} of ${acknowledged.length} acknowledged entries are lost`);
  const allowed = await troth(path, "allow", "/shop/mallory", "/proof/callee");
  if (allowed.code !== 0) return failed(`the recovered log does not go on: ${allowed.stderr}`);
  return ok(
    `log back from ${size} to ${olderSize} noticed after ${(noticedMillis / 1000).toFixed(1)} s; ${recovered} entries recovered, 0 of ${acknowledged.length} acknowledged ones lost`,
  );
}

async function isAlarmed(path: string): Promise<boolean> {
  try {
    return (await statusOf(path)).alarms.some(({ reason }) => reason === "log-rolled-back");
  } catch {
    return false;
  }
}

async function untilEverybodyHas(mesh: RunningMesh, size: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const { instances, nodes } = await statusOf(mesh.path);
    const serving = instances.filter(({ isServing }) => isServing);
    if (
      serving.length >= 6 &&
      serving.every((one) => one.size >= size) &&
      nodes.every((one) => one.size >= size)
    )
      return;
    await sleep(100);
  }
  throw new Error(`not everybody reached ${size}`);
}

function ruleAbout(from: string): { [key: string]: string | string[] } {
  return { from, to: "/proof/callee", effect: "allow", methods: [], paths: [] };
}
