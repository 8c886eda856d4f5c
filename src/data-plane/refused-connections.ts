import type { AuditLog } from "../audit/index.ts";
import type { Log } from "../base/log.ts";
import type { PeerRefusal } from "./check-peer.ts";
import type { ProxyMetrics } from "./proxy-metrics.ts";

/** Sources of refusals that are told apart between two flushes; what comes from more counts together. */
const sourcesMax = 32;
const otherPeers = "others";

/** A connection that was turned away. */
export interface RefusedConnection {
  readonly direction: "inbound" | "outbound";
  readonly reason: PeerRefusal | "handshake-failed" | "too-many-connections" | "not-own-application";
  readonly detail: string;
  readonly peer: string;
}

/**
 * Refusals that mean more than a peer with bad papers: a working signature under our own CA that no entry names or whose
 * authority was revoked, and a neighbour that would be taken for the application.
 */
const alarming: ReadonlySet<RefusedConnection["reason"]> = new Set([
  "not-in-log",
  "log-disagrees",
  "revoked-authority",
  "not-own-application",
]);

/**
 * Records which connections were refused: every one in a metric; in the audit log, and as an alarm where it is one,
 * the first of a kind at once and those like it together at the next {@link flush}, so that strangers cannot fill a disk.
 */
export class RefusedConnections {
  readonly #audit: AuditLog;
  readonly #metrics: ProxyMetrics;
  readonly #log: Log;
  readonly #alarm: (reason: string, detail: string) => void;
  readonly #repeated = new Map<string, { readonly like: RefusedConnection; count: number }>();

  constructor(options: {
    readonly audit: AuditLog;
    readonly metrics: ProxyMetrics;
    readonly log: Log;
    readonly alarm: (reason: string, detail: string) => void;
  }) {
    this.#audit = options.audit;
    this.#metrics = options.metrics;
    this.#log = options.log;
    this.#alarm = options.alarm;
  }

  /** Takes note of a refusal. */
  note(refused: RefusedConnection): void {
    const { direction, reason } = refused;
    this.#metrics.refusedConnections[direction].add(reason);
    const known = this.#repeated.get(keyOf(refused));
    const isOneTooMany = known === undefined && this.#repeated.size >= sourcesMax;
    const like = isOneTooMany ? { ...refused, peer: otherPeers } : refused;
    const counted = isOneTooMany ? this.#repeated.get(keyOf(like)) : known;
    if (counted !== undefined) {
      counted.count += 1;
      return;
    }
    this.#repeated.set(keyOf(like), { like, count: 0 });
    this.#write(like, 1);
    if (alarming.has(reason)) this.#alarm(reason, `${refused.detail} from ${refused.peer}`);
  }

  /** Writes what has been counted only; called twice a second or so. */
  flush(): void {
    for (const { like, count } of this.#repeated.values()) if (count > 0) this.#write(like, count);
    this.#repeated.clear();
  }

  #write({ direction, reason, detail, peer }: RefusedConnection, count: number): void {
    this.#audit.record({ type: "connection-refused", reason, detail, direction, peer, count });
    this.#log.warn("connection refused", { direction, reason, detail, peer, count });
  }
}

/** Without the detail, which a stranger chooses. */
function keyOf({ direction, reason, peer }: RefusedConnection): string {
  return `${direction} ${reason} ${peer}`;
}
