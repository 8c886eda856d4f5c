/** What one HTTP/1.1 connection from a client may cost. */
export interface Http1Limits {
  /** Start line and headers with their line ends, in bytes; the same for responses. */
  readonly headBytesMax: number;
  /** Header lines in one head. */
  readonly headersMax: number;
  /** Request target as sent, in bytes. */
  readonly targetBytesMax: number;
  /** Body of one request without its framing, in bytes. */
  readonly requestBodyBytesMax: number;
  /** Responses of the 1xx class before the final one. */
  readonly interimResponsesMax: number;
  /** From the first byte of a head (or the opening of the connection) to its last. */
  readonly headMillis: number;
  /** How long `decide` may take before the request is refused. */
  readonly decisionMillis: number;
  /** From the last byte of the request to the head of the final response. */
  readonly responseHeadMillis: number;
  /** How long a body may stand still, in either direction. */
  readonly bodyIdleMillis: number;
  /** How long a client may keep a connection without a request. */
  readonly keepAliveIdleMillis: number;
  /** How long a connection that we closed waits for the client's own end. */
  readonly lingerMillis: number;
  /** What such a connection reads and throws away, so that the last answer is not lost in a reset. */
  readonly lingerBytesMax: number;
}

/** The limits that hold unless configured otherwise. */
export const defaultHttp1Limits: Http1Limits = {
  headBytesMax: 16 * 1024,
  headersMax: 100,
  targetBytesMax: 8 * 1024,
  requestBodyBytesMax: 2 ** 40,
  interimResponsesMax: 8,
  headMillis: 5_000,
  decisionMillis: 10_000,
  responseHeadMillis: 30_000,
  bodyIdleMillis: 30_000,
  keepAliveIdleMillis: 60_000,
  lingerMillis: 2_000,
  lingerBytesMax: 256 * 1024,
};

/** What the connections to one destination may cost. */
export interface PoolLimits {
  /** Connections kept without a request. */
  readonly idleMax: number;
  /** Connections open or being opened. */
  readonly openMax: number;
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
  openingMax: 16,
  waitingMax: 1024,
  waitMillis: 5_000,
  connectMillis: 5_000,
  idleMillis: 50_000,
  readBufferBytes: 32 * 1024,
};
