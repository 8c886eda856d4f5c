import type { Log } from "../base/log.ts";
import type { ProxyMetrics } from "./proxy-metrics.ts";

/** Lines between two flushes; a peer that opens many connections must not fill a disk. */
const linesMax = 32;

/** Records how peers break the rules of HTTP/2: each time in a metric, and once a connection in the log. */
export class PeerViolations {
  readonly #metrics: ProxyMetrics;
  readonly #log: Log;
  #linesLeft = linesMax;

  constructor(options: { readonly metrics: ProxyMetrics; readonly log: Log }) {
    this.#metrics = options.metrics;
    this.#log = options.log;
  }

  /** What one connection reports to; `peer` is an identity, or `application` where that is the other end. */
  of(direction: "inbound" | "outbound", peer: string): (violation: string) => void {
    let hasLogged = false;
    return (violation) => {
      this.#metrics.http2Violations[direction].add(violation);
      if (hasLogged || this.#linesLeft === 0) return;
      hasLogged = true;
      this.#linesLeft -= 1;
      this.#log.warn("peer broke the rules of HTTP/2", { direction, reason: violation, peer });
    };
  }

  /** Lets as many lines be written again; called twice a second or so. */
  flush(): void {
    this.#linesLeft = linesMax;
  }
}
