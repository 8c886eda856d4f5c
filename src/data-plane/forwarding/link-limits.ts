import type { Http2Limits } from "../http2/index.ts";

/** What the connections to one instance may cost. */
export interface LinkLimits {
  /** Connections of HTTP/2 in use; those that only finish their requests are not counted. */
  readonly sessionsMax: number;
  /** Requests waiting for a connection. */
  readonly waitingMax: number;
  /** How long a request waits for a connection. */
  readonly waitMillis: number;
  /** How long opening a connection may take, its checks and the peer's included. */
  readonly connectMillis: number;
  /** After how long a peer that chose HTTP/1.1 is asked again; it may have been replaced by one that knows more. */
  readonly askAgainMillis: number;
  /** Of each connection of HTTP/2; those of one between proxies unless given. */
  readonly http2?: Http2Limits;
}

/** The limits that hold unless configured otherwise. */
export const defaultLinkLimits: LinkLimits = {
  // With 256 streams each, a thousand calls that stay open find room.
  sessionsMax: 4,
  waitingMax: 1024,
  waitMillis: 5_000,
  connectMillis: 5_000,
  askAgainMillis: 60_000,
};
