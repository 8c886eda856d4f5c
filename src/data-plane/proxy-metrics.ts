import { Counter, Gauge, Registry } from "prom-client";

/** What a proxy counts. Labels come from closed sets only. */
export interface ProxyMetrics {
  readonly registry: Registry;
  readonly requests: Counter<"direction" | "outcome">;
  readonly refusedConnections: Counter<"direction" | "reason">;
  readonly deniedRequests: Counter<"reason">;
  /** The sums that a proxy reports of itself. */
  readonly totals: { forwarded: number; refused: number; outbound: number };
}

/** What is measured when somebody asks. */
export interface ProxyGauges {
  readonly stalenessSeconds: () => number;
  readonly treeSize: () => number;
  readonly certificateNotAfterSeconds: () => number;
  readonly openPeers: () => number;
}

/** Makes the metrics of one proxy. */
export function proxyMetrics(gauges: ProxyGauges): ProxyMetrics {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number): void => {
    const collect = (): void => made.set(read());
    const made = new Gauge({ name, help, registers, collect });
  };
  gauge(
    "troth_proxy_view_staleness_seconds",
    "Seconds since a new epoch of the trust log arrived.",
    gauges.stalenessSeconds,
  );
  gauge("troth_proxy_tree_size", "How many entries of the trust log are in force.", gauges.treeSize);
  gauge(
    "troth_proxy_certificate_expiration_timestamp_seconds",
    "When the SVID in use ends.",
    gauges.certificateNotAfterSeconds,
  );
  gauge("troth_proxy_peer_connections", "Open connections to checked peers.", gauges.openPeers);
  return {
    registry,
    requests: new Counter({
      name: "troth_proxy_requests_total",
      help: "Requests by direction and outcome.",
      labelNames: ["direction", "outcome"],
      registers,
    }),
    refusedConnections: new Counter({
      name: "troth_proxy_refused_connections_total",
      help: "Connections refused after the handshake, by reason.",
      labelNames: ["direction", "reason"],
      registers,
    }),
    totals: { forwarded: 0, refused: 0, outbound: 0 },
    deniedRequests: new Counter({
      name: "troth_proxy_denied_requests_total",
      help: "Requests denied by reason.",
      labelNames: ["reason"],
      registers,
    }),
  };
}
