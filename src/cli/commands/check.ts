import { setTimeout as sleep } from "node:timers/promises";
import { checkBeforeStart } from "../checks/before-start-checks.ts";
import { CheckReport } from "../checks/check-report.ts";
import { checkDirectory } from "../checks/directory-checks.ts";
import { checkControlPlane, checkNodes, reachControlPlane } from "../checks/mesh-checks.ts";
import { checkProxies } from "../checks/proxy-checks.ts";
import { checkWorkloadApi } from "../checks/workload-api-check.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { readMembership } from "../membership.ts";
import { type MeshDirectory, meshDirectory } from "../mesh-directory.ts";
import { printAnswer } from "../output.ts";
import { systemClock } from "../system.ts";
import { defaultPort } from "./up.ts";

const pollMillis = 1_000;

/** What `troth check` takes. */
export interface CheckOptions {
  readonly dir: string;
  readonly output: CheckFormat;
  /** Before the first start, rather than of a running mesh. */
  readonly pre: boolean;
  /** The only service or instance to look at. */
  readonly proxy?: string;
  /** How many seconds to check again and again until all is well; 0 checks once. */
  readonly wait: number;
}

/** How the report is printed: all of it, as JSON, or only what is not well. */
export type CheckFormat = "table" | "json" | "short";

/** `troth check`: is this mesh healthy, and if not, what to do. Exit code 1 when something is wrong. */
export async function check(options: CheckOptions): Promise<void> {
  const directory = meshDirectory(options.dir);
  const deadline = systemClock.monotonicMillis() + options.wait * 1000;
  let report = await checkOnce(directory, options);
  while (!report.isSuccess && systemClock.monotonicMillis() < deadline) {
    await sleep(pollMillis);
    report = await checkOnce(directory, options);
  }
  const answer = { success: report.isSuccess, categories: report.categories() };
  printAnswer(options.output === "json" ? "json" : "table", "CheckReport", answer, () =>
    report.text(options.output === "short"),
  );
  if (!report.isSuccess) throw new CliError(exitCode.no, "");
}

async function checkOnce(directory: MeshDirectory, { pre, proxy }: CheckOptions): Promise<CheckReport> {
  const report = new CheckReport();
  if (pre) {
    const about = {
      nowSeconds: systemClock.nowSeconds(),
      port: defaultPort,
      nodeVersion: process.versions.node,
    };
    await checkBeforeStart(report, directory, about);
    return report;
  }
  // One proxy is looked at without reading the whole log first.
  if (proxy === undefined && !(await checkDirectory(report, directory))) return report;
  using client = await reachControlPlane(report, directory);
  if (client === undefined) return report;
  const status = await client.admin.getStatus({});
  const here = (await readMembership(directory))?.node;
  const aheadSeconds = status.nodes.find(
    ({ node, isConnected }) => node === here && isConnected,
  )?.clockAheadSeconds;
  const mesh = { directory, client, status, nowSeconds: systemClock.nowSeconds(), aheadSeconds };
  if (proxy === undefined) {
    await checkControlPlane(report, mesh);
    await checkNodes(report, mesh);
    if (status.nodes.some(({ node, isConnected }) => node === here && isConnected))
      await checkWorkloadApi(report, directory);
  }
  await checkProxies(report, mesh, proxy);
  return report;
}
