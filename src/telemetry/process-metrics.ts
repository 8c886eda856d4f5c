import type * as prometheusClient from "prom-client";
import type { Gauge, Registry } from "prom-client";

/** The library itself, handed in, so that a process loads it no earlier than it needs it. */
type Prometheus = Pick<typeof prometheusClient, "collectDefaultMetrics" | "Gauge">;

/** How often the event loop's delay is sampled: each time wakes a process that may have nothing to do. */
const delaySamplingMillis = 50;

/**
 * Left out of the client's defaults: to count descriptors, handles and resources one by one holds up a proxy with 2000
 * sockets for some 15 ms at each scrape, and the names in `_total` are gauges', which Prometheus' linter refuses.
 */
const costly = [
  "process_open_fds",
  "nodejs_active_resources",
  "nodejs_active_resources_total",
  "nodejs_active_handles",
  "nodejs_active_handles_total",
  "nodejs_active_requests",
  "nodejs_active_requests_total",
];

/** Adds what every process has: CPU, memory, garbage collection, the delay of the event loop. */
export function addProcessMetrics(prometheus: Prometheus, registry: Registry): void {
  prometheus.collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: delaySamplingMillis });
  for (const name of costly) registry.removeSingleMetric(name);
}

/** Adds a gauge that is measured when somebody asks. */
export function addGauge(
  prometheus: Prometheus,
  registry: Registry,
  { name, help, read }: { readonly name: string; readonly help: string; readonly read: () => number },
): void {
  const made: Gauge = new prometheus.Gauge({
    name,
    help,
    registers: [registry],
    collect: () => made.set(read()),
  });
}
