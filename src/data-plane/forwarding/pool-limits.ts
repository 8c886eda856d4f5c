/** What the connections to one destination may cost. */
export interface PoolLimits {
  /** Connections kept without a request. */
  readonly idleMax: number;
  /** Connections open or being opened. */
  readonly openMax: number;
  /** Connections that have become tunnels, besides: requests do not wait for what may last for hours. */
  readonly tunnelsMax: number;
  /**
   * Connections being opened at a time. When everything is slow for a moment, the requests that pile up mostly get a
   * connection that another request has finished with; a handshake for each would make it slower still.
   */
  readonly openingMax: number;
  /** Requests waiting for a connection. */
  readonly waitingMax: number;
  /** How long a request waits for a connection. */
  readonly waitMillis: number;
  /** How long opening a connection may take, its checks included. */
  readonly connectMillis: number;
  /** How long a connection is kept without a request; less than a server's `keepAliveIdleMillis`. */
  readonly idleMillis: number;
  /** The one buffer that a connection reads into, in bytes. */
  readonly readBufferBytes: number;
}

/** The limits of a pool that hold unless configured otherwise. */
export const defaultPoolLimits: PoolLimits = {
  idleMax: 64,
  openMax: 256,
  tunnelsMax: 4096,
  openingMax: 16,
  waitingMax: 1024,
  waitMillis: 5_000,
  connectMillis: 5_000,
  idleMillis: 50_000,
  readBufferBytes: 32 * 1024,
};
