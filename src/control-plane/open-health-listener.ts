import type { Log } from "../base/log.ts";
import { type AdminListener, openAdminListener } from "../telemetry/index.ts";
import { addMeshGauges, type ControlPlaneMetrics } from "./control-plane-metrics.ts";
import type { FollowerRegistry } from "./follower-registry.ts";
import type { LogWriter } from "./log-writer.ts";

/** Three epochs: so long without one, and something is wrong. */
const epochAgeSecondsMax = 30;

/** Shows a control plane's health and metrics; it is ready while it can write the trust log and epochs come. */
export function openHealthListener(options: {
  readonly listen: { readonly host: string; readonly port: number } | undefined;
  readonly metrics: ControlPlaneMetrics;
  readonly writer: LogWriter;
  readonly registry: FollowerRegistry;
  readonly log: Log;
}): Promise<AdminListener> {
  const { listen = { host: "127.0.0.1", port: 0 }, metrics, writer, registry, log } = options;
  const newestSize = (): number => writer.newest?.size ?? 0;
  const isCurrent = (size: number): boolean => size >= newestSize();
  addMeshGauges(metrics.registry, {
    treeSize: newestSize,
    nodes: () => registry.nodes(writer.state).filter(({ isConnected }) => isConnected).length,
    followers: () => {
      const followers = registry.statuses();
      const current = followers.filter(({ size }) => isCurrent(Number(size))).length;
      return { current, behind: followers.length - current };
    },
  });
  const checks = [
    {
      name: "trust-log",
      missing: () => unwritable(writer),
    },
    { name: "epochs", missing: () => oldEpoch(metrics.epochAgeSeconds()) },
  ];
  return openAdminListener({ listen, checks, metrics: () => metrics.registry.metrics(), log });
}

function unwritable({ isBroken, isHalted }: LogWriter): string | undefined {
  if (isHalted)
    return "nothing is ordered any more; troth status says why, docs/guides/recovery.md what to do";
  return isBroken ? "the log can be written no more; see this process's log, then restart it" : undefined;
}

function oldEpoch(ageSeconds: number | undefined): string | undefined {
  if (ageSeconds === undefined) return "no epoch issued yet";
  if (ageSeconds <= epochAgeSecondsMax) return undefined;
  return `no epoch issued for ${Math.floor(ageSeconds)} s; is the disk full?`;
}
