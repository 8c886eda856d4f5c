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
  /** How long a call of gRPC may stand still, in place of the two before: streams of events may be silent for long. */
  readonly callIdleMillis: number;
  /** How long a tunnel, of a WebSocket or of CONNECT, may stand still in both directions. */
  readonly tunnelIdleMillis: number;
  /** How long a tunnel over HTTP/1.1 may go on once its connection is to end. */
  readonly tunnelDrainMillis: number;
  /** How long a stream of events (`text/event-stream`) may be silent. */
  readonly eventStreamIdleMillis: number;
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
  callIdleMillis: 3_600_000,
  tunnelIdleMillis: 7_200_000,
  tunnelDrainMillis: 600_000,
  eventStreamIdleMillis: 7_200_000,
  keepAliveIdleMillis: 60_000,
  lingerMillis: 2_000,
  lingerBytesMax: 256 * 1024,
};
