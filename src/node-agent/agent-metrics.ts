import * as prometheus from "prom-client";
import { addGauge, addProcessMetrics } from "../telemetry/index.ts";

/** What is measured when somebody asks. */
export interface AgentGauges {
  readonly treeSize: () => number;
  readonly stalenessSeconds: () => number;
  readonly sidecars: () => number;
  readonly workloads: () => number;
  readonly isConnected: () => boolean;
}

/** What a node agent counts. */
export interface AgentMetrics {
  /** Connections to the control plane that were begun; all but the first are for one that was lost or not there. */
  readonly connections: prometheus.Counter;
  /** All of it, in the Prometheus text format. */
  readonly page: () => Promise<string>;
}

/** Makes the metrics of a node agent. */
export function agentMetrics(gauges: AgentGauges): AgentMetrics {
  const registry = new prometheus.Registry();
  addProcessMetrics(prometheus, registry);
  addGauge(prometheus, registry, {
    name: "troth_agent_tree_size",
    help: "How many entries of the trust log the agent has.",
    read: gauges.treeSize,
  });
  addGauge(prometheus, registry, {
    name: "troth_agent_view_staleness_seconds",
    help: "Seconds since a new epoch of the trust log arrived.",
    read: gauges.stalenessSeconds,
  });
  addGauge(prometheus, registry, {
    name: "troth_agent_sidecars",
    help: "Sidecars that follow the trust log here.",
    read: gauges.sidecars,
  });
  addGauge(prometheus, registry, {
    name: "troth_agent_workload_instances",
    help: "Instances that the agent keeps for workloads that ask it for their identity.",
    read: gauges.workloads,
  });
  addGauge(prometheus, registry, {
    name: "troth_agent_control_plane_connected",
    help: "1 while the control plane is there and has proved to be it.",
    read: () => (gauges.isConnected() ? 1 : 0),
  });
  const connections = new prometheus.Counter({
    name: "troth_agent_control_plane_connections_total",
    help: "Connections to the control plane that were begun.",
    registers: [registry],
  });
  return { connections, page: () => registry.metrics() };
}
