import { collectDefaultMetrics, Gauge, type Registry } from "prom-client";

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
export function addProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry });
  for (const name of costly) registry.removeSingleMetric(name);
}

/** Adds a gauge that is measured when somebody asks. */
export function addGauge(
  registry: Registry,
  { name, help, read }: { readonly name: string; readonly help: string; readonly read: () => number },
): void {
  const made: Gauge = new Gauge({ name, help, registers: [registry], collect: () => made.set(read()) });
}
