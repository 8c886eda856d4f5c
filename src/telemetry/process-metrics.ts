import { collectDefaultMetrics, Gauge, type Registry } from "prom-client";

/** Gauges whose names end like counters', which Prometheus' own linter refuses; the same counts are there by type. */
const misnamed = [
  "nodejs_active_resources_total",
  "nodejs_active_handles_total",
  "nodejs_active_requests_total",
];

/** Adds what every process has: CPU, memory, resources, garbage collection, the delay of the event loop. */
export function addProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry });
  for (const name of misnamed) registry.removeSingleMetric(name);
}

/** Adds a gauge that is measured when somebody asks. */
export function addGauge(
  registry: Registry,
  { name, help, read }: { readonly name: string; readonly help: string; readonly read: () => number },
): void {
  const made: Gauge = new Gauge({ name, help, registers: [registry], collect: () => made.set(read()) });
}
