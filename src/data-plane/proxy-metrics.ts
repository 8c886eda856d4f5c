import { Counter, Registry } from "prom-client";
import type { Clock } from "../base/clock.ts";
import { addGauge, addProcessMetrics, HttpDurations } from "../telemetry/index.ts";

/** What a proxy counts. Labels come from closed sets, and names of services from the trust log only. */
export interface ProxyMetrics {
  /** Requests by outcome. */
  readonly requests: { readonly inbound: Tally; readonly outbound: Tally };
  readonly deniedRequests: Tally;
  readonly refusedConnections: Counter<"direction" | "reason">;
  readonly inboundDurations: HttpDurations;
  readonly outboundDurations: HttpDurations;
  /** The sums that a proxy reports of itself. */
  readonly totals: { forwarded: number; refused: number; outbound: number };
  /** All of it, in the Prometheus text format. */
  readonly page: () => Promise<string>;
}

/** What is measured when somebody asks. */
export interface ProxyGauges {
  readonly stalenessSeconds: () => number;
  readonly treeSize: () => number;
  readonly certificateNotAfterSeconds: () => number;
  readonly openPeers: () => number;
  /** Spans handed to a collector, and spans lost. */
  readonly spans: () => { readonly exported: number; readonly dropped: number };
}

/** Counts by one value of a closed set, on the path of a request: no label object is made until somebody asks. */
export class Tally {
  readonly counts: Map<string, number> = new Map<string, number>();

  /** Counts one. */
  add(value: string): void {
    this.counts.set(value, (this.counts.get(value) ?? 0) + 1);
  }
}

/** Makes the metrics of one proxy. */
export function proxyMetrics(gauges: ProxyGauges, clock: Clock): ProxyMetrics {
  const registry = new Registry();
  const registers = [registry];
  addProxyGauges(registry, gauges);
  addProcessMetrics(registry);
  const requests = { inbound: new Tally(), outbound: new Tally() };
  const deniedRequests = new Tally();
  const requestsTotal: Counter = new Counter({
    name: "troth_proxy_requests_total",
    help: "Requests by direction and outcome.",
    labelNames: ["direction", "outcome"],
    registers,
    collect: () => {
      requestsTotal.reset();
      for (const direction of ["inbound", "outbound"] as const)
        for (const [outcome, count] of requests[direction].counts)
          requestsTotal.inc({ direction, outcome }, count);
    },
  });
  const deniedTotal: Counter = new Counter({
    name: "troth_proxy_denied_requests_total",
    help: "Requests denied by reason.",
    labelNames: ["reason"],
    registers,
    collect: () => {
      deniedTotal.reset();
      for (const [reason, count] of deniedRequests.counts) deniedTotal.inc({ reason }, count);
    },
  });
  const spansTotal: Counter = new Counter({
    name: "troth_proxy_spans_total",
    help: "Spans by what became of them: exported to the collector, or dropped.",
    labelNames: ["outcome"],
    registers,
    collect: () => {
      spansTotal.reset();
      for (const [outcome, count] of Object.entries(gauges.spans())) spansTotal.inc({ outcome }, count);
    },
  });
  const inboundDurations = new HttpDurations("server", clock);
  const outboundDurations = new HttpDurations("client", clock);
  return {
    requests,
    deniedRequests,
    refusedConnections: new Counter({
      name: "troth_proxy_refused_connections_total",
      help: "Connections refused after the handshake, by reason.",
      labelNames: ["direction", "reason"],
      registers,
    }),
    inboundDurations,
    outboundDurations,
    totals: { forwarded: 0, refused: 0, outbound: 0 },
    page: async () => `${await registry.metrics()}\n${inboundDurations.text()}\n${outboundDurations.text()}`,
  };
}

function addProxyGauges(registry: Registry, gauges: ProxyGauges): void {
  addGauge(registry, {
    name: "troth_proxy_view_staleness_seconds",
    help: "Seconds since a new epoch of the trust log arrived.",
    read: gauges.stalenessSeconds,
  });
  addGauge(registry, {
    name: "troth_proxy_tree_size",
    help: "How many entries of the trust log are in force.",
    read: gauges.treeSize,
  });
  addGauge(registry, {
    name: "troth_proxy_certificate_expiration_timestamp_seconds",
    help: "When the SVID in use ends.",
    read: gauges.certificateNotAfterSeconds,
  });
  addGauge(registry, {
    name: "troth_proxy_peer_connections",
    help: "Open connections to checked peers.",
    read: gauges.openPeers,
  });
}
