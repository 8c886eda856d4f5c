import { create } from "@bufbuild/protobuf";
import type { ProcessTree } from "../peer-process/index.ts";
import {
  type CalledInstance,
  CalledInstanceSchema,
  calledMax,
  type ResourceReport,
  ResourceReportSchema,
} from "../protocol/index.ts";
import type { AppUsage } from "./app-usage.ts";
import type { HealthReason } from "./watch-app.ts";

/** How often procfs is read, at most: so seldom that it costs nothing. */
const treeReadMillis = 5_000;
const memoryStepBytes = 1024 * 1024;

/** What the health check of an application last said. */
export interface AppHealth {
  readonly isHealthy: boolean;
  readonly reason: HealthReason | undefined;
}

/** Measures what a sidecar reports of its application besides what stands in its metrics. */
export class AppReport {
  /** Undefined before the first check. */
  health: AppHealth | undefined;
  readonly #usage: AppUsage;
  readonly #tree: ProcessTree | undefined;
  #cpuPermille = 0;
  #memoryBytes = 0;
  #cpuMillis: number | undefined;
  #readMillis = Number.NEGATIVE_INFINITY;

  constructor(usage: AppUsage, tree: ProcessTree | undefined) {
    this.#usage = usage;
    this.#tree = tree;
  }

  /** The report of now. */
  take(nowMillis: number): ResourceReport {
    this.#readTree(nowMillis);
    const { inFlight } = this.#usage;
    const { requests, errors, p50Millis, p90Millis, p99Millis } = this.#usage.figures();
    const { health } = this;
    return create(ResourceReportSchema, {
      health: health === undefined ? "" : health.isHealthy ? "healthy" : "unhealthy",
      healthReason: health?.reason ?? "",
      inFlight,
      requests,
      errors,
      p50Millis,
      p90Millis,
      p99Millis,
      cpuPermille: this.#cpuPermille,
      memoryBytes: BigInt(this.#memoryBytes),
    });
  }

  #readTree(nowMillis: number): void {
    if (this.#tree === undefined || nowMillis - this.#readMillis < treeReadMillis) return;
    const { cpuMillis, memoryBytes } = this.#tree.usage();
    const passedMillis = nowMillis - this.#readMillis;
    // Less than before where a process has ended and taken its count with it.
    if (this.#cpuMillis !== undefined && cpuMillis >= this.#cpuMillis)
      this.#cpuPermille = Math.round(((cpuMillis - this.#cpuMillis) / passedMillis) * 1000);
    this.#cpuMillis = cpuMillis;
    this.#memoryBytes = Math.ceil(memoryBytes / memoryStepBytes) * memoryStepBytes;
    this.#readMillis = nowMillis;
  }
}

/** How a proxy's requests went at each instance that it calls, those with failures first. */
export function calledInstances(
  counts: Iterable<{ readonly instance: string; readonly requests: number; readonly failures: number }>,
): CalledInstance[] {
  const all = [...counts].filter(({ requests }) => requests > 0);
  if (all.length > calledMax) all.sort((one, other) => other.failures - one.failures);
  return all
    .slice(0, calledMax)
    .map(({ instance, requests, failures }) =>
      create(CalledInstanceSchema, { instance, requests: BigInt(requests), failures: BigInt(failures) }),
    );
}
