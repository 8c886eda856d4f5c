import type { AuditLog } from "../audit/index.ts";
import type { Clock, RandomBytes } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Tracer } from "../telemetry/index.ts";
import type { LogView } from "../transport/index.ts";
import type { AppUsage } from "./app-usage.ts";
import type { PeerChecker } from "./check-peer.ts";
import type { CoarseTimer } from "./coarse-timer.ts";
import type { LivePeers } from "./live-peers.ts";
import type { PeerViolations } from "./peer-violations.ts";
import type { ProxyMetrics } from "./proxy-metrics.ts";
import type { RefusedConnections } from "./refused-connections.ts";
import type { RequestTokenGate } from "./request-token-gate.ts";
import type { RequestTokenKeys } from "./request-token-keys.ts";
import type { ExhaustedTraces } from "./traffic/index.ts";

/** What both sides of a proxy share. */
export interface ProxyContext {
  readonly service: string;
  readonly instance: string;
  /** What it was started to serve besides its service's own name, whatever the log grants. */
  readonly prefixes: ReadonlySet<string>;
  readonly view: LogView;
  readonly checker: PeerChecker;
  readonly livePeers: LivePeers;
  readonly refused: RefusedConnections;
  readonly violations: PeerViolations;
  readonly audit: AuditLog;
  readonly metrics: ProxyMetrics;
  /** Of the application behind a sidecar. */
  readonly usage: AppUsage;
  /** Absent where no collector is configured. */
  readonly tracer: Tracer | undefined;
  /** What callers are told not to ask for again. */
  readonly exhausted: ExhaustedTraces;
  /** Of the issuer of request tokens: keys to check them by, grants to mint them by, and its time. */
  readonly requestTokens: RequestTokenKeys;
  /** Tells the control plane what should not have happened. */
  readonly alarm: (reason: string, detail: string) => void;
  /** Whether advertisements are believed unchecked; counts in a test domain alone. */
  readonly dangerBelieveAdvertisements: boolean;
  /** Checks the request tokens of what is asked of this proxy. */
  readonly gate: RequestTokenGate;
  readonly timer: CoarseTimer;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  readonly log: Log;
}
