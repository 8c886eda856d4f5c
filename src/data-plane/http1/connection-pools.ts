import type { Socket } from "node:net";
import type { CoarseTimer } from "./coarse-timer.ts";
import { ConnectionPool, type OpenConnection } from "./connection-pool.ts";
import { defaultPoolLimits, type PoolLimits } from "./http1-limits.ts";

/** One pool for each destination, made when first asked for. */
export class ConnectionPools {
  private readonly timer: CoarseTimer;
  private readonly limits: PoolLimits;
  private readonly pools = new Map<string, ConnectionPool>();

  constructor(timer: CoarseTimer, limits: PoolLimits = defaultPoolLimits) {
    this.timer = timer;
    this.limits = limits;
  }

  /** The pool of a destination; `open` is used if there is none yet. Keys come from configuration, never from requests. */
  to(key: string, open: OpenConnection): ConnectionPool {
    const present = this.pools.get(key);
    if (present !== undefined) return present;
    const pool = new ConnectionPool(open, this.limits, this.timer);
    this.pools.set(key, pool);
    return pool;
  }

  /** Closes the pool of a destination that is gone. */
  remove(key: string): void {
    this.pools.get(key)?.close();
    this.pools.delete(key);
  }

  /** Lets every present connection finish its request and be closed, as after a rotation of certificates. */
  drain(overMillis = 0): void {
    for (const pool of this.pools.values()) pool.drain(overMillis);
  }

  /** Breaks the connections that a predicate names, with the requests on them, as after a revocation. */
  destroyAll(isMeant: (key: string, socket: Socket) => boolean): void {
    for (const [key, pool] of this.pools) pool.destroyAll((socket) => isMeant(key, socket));
  }

  /** Closes every pool. */
  close(): void {
    for (const pool of this.pools.values()) pool.close();
    this.pools.clear();
  }
}
