import type { AuditLog } from "../audit/index.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { LogView } from "../transport/index.ts";
import type { PeerChecker, PeerRefusal } from "./check-peer.ts";
import type { CoarseTimer } from "./http1/index.ts";
import type { LivePeers } from "./live-peers.ts";
import type { ProxyMetrics } from "./proxy-metrics.ts";

/** What both sides of a proxy share. */
export interface ProxyContext {
  readonly service: string;
  readonly instance: string;
  readonly view: LogView;
  readonly checker: PeerChecker;
  readonly livePeers: LivePeers;
  readonly audit: AuditLog;
  readonly metrics: ProxyMetrics;
  readonly timer: CoarseTimer;
  readonly clock: Clock;
  readonly log: Log;
  /** Tells the control plane what should not have happened. */
  readonly alarm: (reason: string, detail: string) => void;
}

/** Refusals that mean more than a peer with bad papers: a working signature under our own CA that no entry names. */
const alarming: ReadonlySet<PeerRefusal> = new Set(["not-in-log", "log-disagrees"]);

/** Records that a connection was refused: in the audit log, in a metric, and as an alarm where it is one. */
export function connectionRefused(
  context: ProxyContext,
  direction: "inbound" | "outbound",
  refusal: { readonly reason: PeerRefusal; readonly detail: string; readonly peer: string },
): void {
  const { reason, detail, peer } = refusal;
  context.metrics.refusedConnections.inc({ direction, reason });
  context.audit.record({ type: "connection-refused", reason, detail, direction, peer, count: 1 });
  context.log.warn("connection refused", { direction, reason, detail, peer });
  if (alarming.has(reason)) context.alarm(reason, `${context.service} saw ${detail} from ${peer}`);
}
