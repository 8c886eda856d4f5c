import * as prometheus from "prom-client";
import { addGauge, addProcessMetrics } from "../telemetry/index.ts";
import type { ProxyGauges, ProxyMetrics, Tally } from "./proxy-metrics.ts";

/** A registry over what a proxy has counted by itself; reading it is what collects. */
export function openProxyRegistry(
  counted: Pick<
    ProxyMetrics,
    | "requests"
    | "refusedConnections"
    | "http2Violations"
    | "deniedRequests"
    | "requestTokens"
    | "ejections"
    | "refusedAdvertisements"
    | "zones"
    | "traffic"
    | "tcpConnections"
    | "tcp"
  >,
  gauges: ProxyGauges,
): prometheus.Registry {
  const registry = new prometheus.Registry();
  addProxyGauges(registry, gauges);
  addProcessMetrics(prometheus, registry);
  const { requests, refusedConnections, http2Violations, deniedRequests } = counted;
  addCounter(registry, {
    name: "troth_proxy_requests_total",
    help: "Requests by direction and outcome.",
    labels: ["direction", "outcome"],
    rows: () => [...rowsOf(requests.inbound, "inbound"), ...rowsOf(requests.outbound, "outbound")],
  });
  addCounter(registry, {
    name: "troth_proxy_denied_requests_total",
    help: "Requests denied by reason.",
    labels: ["reason"],
    rows: () => rowsOf(deniedRequests),
  });
  addCounter(registry, {
    name: "troth_proxy_refused_connections_total",
    help: "Connections refused after the handshake, by reason.",
    labels: ["direction", "reason"],
    rows: () => [
      ...rowsOf(refusedConnections.inbound, "inbound"),
      ...rowsOf(refusedConnections.outbound, "outbound"),
    ],
  });
  addCounter(registry, {
    name: "troth_proxy_http2_violations_total",
    help: "What peers, the application among them, did against the rules of HTTP/2.",
    labels: ["direction", "reason"],
    rows: () => [
      ...rowsOf(http2Violations.inbound, "inbound"),
      ...rowsOf(http2Violations.outbound, "outbound"),
    ],
  });
  addTokenCounter(registry, counted.requestTokens);
  addTrafficCounters(registry, counted.traffic);
  addCounter(registry, {
    name: "troth_proxy_ejections_total",
    help: "Instances put out as outliers, by what they were put out for.",
    labels: ["reason"],
    rows: () => rowsOf(counted.ejections),
  });
  addCounter(registry, {
    name: "troth_proxy_refused_advertisements_total",
    help: "What other proxies said that they serve and was not believed, by reason.",
    labels: ["reason"],
    rows: () => rowsOf(counted.refusedAdvertisements),
  });
  addCounter(registry, {
    name: "troth_proxy_routed_requests_total",
    help: "Requests sent to an instance in this proxy's own zone or in another; none while its node is in no zone.",
    labels: ["zone"],
    rows: () => Object.entries(counted.zones).map(([zone, count]) => ({ values: [zone], count })),
  });
  addCounter(registry, {
    name: "troth_proxy_spans_total",
    help: "Spans by what became of them: exported to the collector, or dropped.",
    labels: ["outcome"],
    rows: () => Object.entries(gauges.spans()).map(([outcome, count]) => ({ values: [outcome], count })),
  });
  addTcpMetrics(registry, counted);
  return registry;
}

function addTokenCounter(
  registry: prometheus.Registry,
  { inbound, outbound }: ProxyMetrics["requestTokens"],
): void {
  addCounter(registry, {
    name: "troth_proxy_request_tokens_total",
    help: "Request tokens by what became of them: accepted or refused here, minted, issued or refused elsewhere.",
    labels: ["direction", "outcome"],
    rows: () => [...rowsOf(inbound, "inbound"), ...rowsOf(outbound, "outbound")],
  });
}

function addTrafficCounters(registry: prometheus.Registry, counted: ProxyMetrics["traffic"]): void {
  const { retries, timeouts, mirrored, faults } = counted;
  addCounter(registry, {
    name: "troth_proxy_retries_total",
    help: "Attempts after the first by outcome, and requests that were not repeated, by why.",
    labels: ["outcome"],
    rows: () => rowsOf(retries),
  });
  addCounter(registry, {
    name: "troth_proxy_request_timeouts_total",
    help: "Requests and attempts that a traffic policy ended because their time was over.",
    labels: ["of"],
    rows: () => rowsOf(timeouts),
  });
  addCounter(registry, {
    name: "troth_proxy_mirrored_requests_total",
    help: "Copies of requests by outcome.",
    labels: ["outcome"],
    rows: () => rowsOf(mirrored),
  });
  addCounter(registry, {
    name: "troth_proxy_injected_faults_total",
    help: "Faults that traffic policies injected.",
    labels: ["fault"],
    rows: () => rowsOf(faults),
  });
}

function addTcpMetrics(
  registry: prometheus.Registry,
  { tcp, tcpConnections }: Pick<ProxyMetrics, "tcp" | "tcpConnections">,
): void {
  addCounter(registry, {
    name: "troth_proxy_tcp_connections_total",
    help: "TCP connections that are over, by direction and outcome.",
    labels: ["direction", "outcome"],
    rows: () => [
      ...rowsOf(tcpConnections.inbound, "inbound"),
      ...rowsOf(tcpConnections.outbound, "outbound"),
    ],
  });
  addCounter(registry, {
    name: "troth_proxy_tcp_bytes_total",
    help: "Bytes of TCP connections, by direction of the connection and whether the application got or sent them.",
    labels: ["direction", "application"],
    rows: () =>
      Object.entries(tcp).flatMap(([direction, { toAppBytes, fromAppBytes }]) => [
        { values: [direction, "received"], count: toAppBytes },
        { values: [direction, "sent"], count: fromAppBytes },
      ]),
  });
  const open: prometheus.Gauge = new prometheus.Gauge({
    name: "troth_proxy_tcp_open_connections",
    help: "TCP connections that are open.",
    labelNames: ["direction"],
    registers: [registry],
    collect: () => {
      for (const [direction, counts] of Object.entries(tcp)) open.labels(direction).set(counts.open);
    },
  });
}

/** A count with the values of its labels, in their order. */
interface Row {
  readonly values: readonly string[];
  readonly count: number;
}

function rowsOf({ counts }: Tally, ...before: readonly string[]): Row[] {
  return [...counts].map(([value, count]) => ({ values: [...before, value], count }));
}

function addCounter(
  registry: prometheus.Registry,
  counter: {
    readonly name: string;
    readonly help: string;
    readonly labels: readonly string[];
    readonly rows: () => readonly Row[];
  },
): void {
  const { name, help, labels, rows } = counter;
  const made: prometheus.Counter = new prometheus.Counter({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
    collect: () => {
      made.reset();
      for (const { values, count } of rows()) made.labels(...values).inc(count);
    },
  });
}

function addProxyGauges(registry: prometheus.Registry, gauges: ProxyGauges): void {
  addGauge(prometheus, registry, {
    name: "troth_proxy_view_staleness_seconds",
    help: "Seconds since a new epoch of the trust log arrived.",
    read: gauges.stalenessSeconds,
  });
  addGauge(prometheus, registry, {
    name: "troth_proxy_tree_size",
    help: "How many entries of the trust log are in force.",
    read: gauges.treeSize,
  });
  addGauge(prometheus, registry, {
    name: "troth_proxy_certificate_expiration_timestamp_seconds",
    help: "When the SVID in use ends.",
    read: gauges.certificateNotAfterSeconds,
  });
  addGauge(prometheus, registry, {
    name: "troth_proxy_ejected_instances",
    help: "Instances that are out as outliers, or on probation after that.",
    read: gauges.ejectedInstances,
  });
  addGauge(prometheus, registry, {
    name: "troth_proxy_application_healthy",
    help: "1 while the health check finds the application well, 0 otherwise and where there is none.",
    read: gauges.appHealthy,
  });
  addGauge(prometheus, registry, {
    name: "troth_proxy_application_requests_in_flight",
    help: "Requests that the application has now.",
    read: gauges.appInFlight,
  });
  addGauge(prometheus, registry, {
    name: "troth_proxy_peer_connections",
    help: "Open connections to checked peers.",
    read: gauges.openPeers,
  });
}
