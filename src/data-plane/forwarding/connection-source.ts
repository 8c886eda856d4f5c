import type { UpstreamConnection } from "./upstream-connection.ts";

/** Why there is no connection to send a request on. */
export type AcquireRefusal =
  | "upstream-connect-failed"
  | "upstream-connect-timeout"
  | "upstream-pool-exhausted"
  | "upstream-pool-timeout";

/** Who asked for a connection and waits for it. */
export interface Waiter {
  onConnection(connection: UpstreamConnection): void;
  onNoConnection(reason: AcquireRefusal, detail: string): void;
}

/**
 * What connection a request needs: any; one that has been in use a moment ago, since it could not be repeated if the
 * server ended the connection just now; or a fresh one without a request before it, for a second attempt.
 */
export type WantedConnection = "any" | "in-use" | "fresh";

/** Where connections of HTTP/1.1 come from. */
export interface ConnectionSource {
  /**
   * A connection at once where an idle one is there; otherwise exactly one method of the waiter is called, possibly
   * before this returns.
   */
  acquire(waiter: Waiter, wanted: WantedConnection): UpstreamConnection | undefined;
  /** Takes back a wait; none of the waiter's methods is called any more. */
  cancel(waiter: Waiter): void;
}
