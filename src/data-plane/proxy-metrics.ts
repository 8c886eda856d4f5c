import type { Clock } from "../base/clock.ts";
import { HttpDurations } from "../telemetry/index.ts";
import { noTcpCounts, type TcpCounts } from "./tcp/tcp-counts.ts";
import type { TrafficCounts } from "./traffic/index.ts";

/** What a proxy counts. Labels come from closed sets, and names of services from the trust log only. */
export interface ProxyMetrics {
  /** Requests by outcome. */
  readonly requests: TwoWays;
  /** Connections refused after the handshake, by reason. */
  readonly refusedConnections: TwoWays;
  /** What peers did against the rules of HTTP/2, by its name. */
  readonly http2Violations: TwoWays;
  readonly deniedRequests: Tally;
  /** Request tokens that were accepted or refused here, and those minted, issued, or refused elsewhere. */
  readonly requestTokens: TwoWays;
  /** Outliers put out, by what they were put out for. */
  readonly ejections: Tally;
  /** Requests of a proxy in a zone that stayed there, and others. */
  readonly zones: { same: number; other: number };
  /** Advertisements that were not believed, by reason. */
  readonly refusedAdvertisements: Tally;
  /** What traffic policies did to requests of the application. */
  readonly traffic: TrafficTallies;
  /** TCP connections by outcome. */
  readonly tcpConnections: TwoWays;
  /** TCP connections that are open, and what they have carried. */
  readonly tcp: { readonly inbound: TcpCounts; readonly outbound: TcpCounts };
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
  /** Instances that are out as outliers, or on probation after that. */
  readonly ejectedInstances: () => number;
  /** 1 or 0. */
  readonly appHealthy: () => number;
  readonly appInFlight: () => number;
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

/** What traffic policies did, by outcome. */
export type TrafficTallies = { readonly [Name in keyof TrafficCounts]: Tally };

/** The same count for what comes in and what goes out. */
export interface TwoWays {
  readonly inbound: Tally;
  readonly outbound: Tally;
}

/** Makes the metrics of one proxy. */
export function proxyMetrics(gauges: ProxyGauges, clock: Clock): ProxyMetrics {
  const counted = {
    requests: { inbound: new Tally(), outbound: new Tally() },
    refusedConnections: { inbound: new Tally(), outbound: new Tally() },
    http2Violations: { inbound: new Tally(), outbound: new Tally() },
    deniedRequests: new Tally(),
    requestTokens: { inbound: new Tally(), outbound: new Tally() },
    ejections: new Tally(),
    refusedAdvertisements: new Tally(),
    zones: { same: 0, other: 0 },
    traffic: { retries: new Tally(), timeouts: new Tally(), mirrored: new Tally(), faults: new Tally() },
    tcpConnections: { inbound: new Tally(), outbound: new Tally() },
    tcp: { inbound: noTcpCounts(), outbound: noTcpCounts() },
  };
  const inboundDurations = new HttpDurations("server", clock);
  const outboundDurations = new HttpDurations("client", clock);
  // The library costs a start some 20 ms, and a proxy at rest 100 wake-ups a second for the event loop's delay.
  let opening: Promise<{ metrics: () => Promise<string> }> | undefined;
  const open = async (): Promise<{ metrics: () => Promise<string> }> =>
    (await import("./proxy-registry.ts")).openProxyRegistry(counted, gauges);
  return {
    ...counted,
    inboundDurations,
    outboundDurations,
    totals: { forwarded: 0, refused: 0, outbound: 0 },
    page: async () => {
      opening ??= open();
      const registry = await opening;
      return `${await registry.metrics()}\n${inboundDurations.text()}\n${outboundDurations.text()}`;
    },
  };
}
