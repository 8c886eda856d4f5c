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

/** Where connections of HTTP/1.1 come from. */
export interface ConnectionSource {
  /**
   * A connection at once where an idle one is there; otherwise exactly one method of the waiter is called, possibly
   * before this returns. `fresh` demands a connection that has carried no request yet: the second attempt of a
   * request whose connection had died idle.
   */
  acquire(waiter: Waiter, fresh: boolean): UpstreamConnection | undefined;
  /** Takes back a wait; none of the waiter's methods is called any more. */
  cancel(waiter: Waiter): void;
}
