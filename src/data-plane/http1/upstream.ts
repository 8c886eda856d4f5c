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

/** Where a request can be sent; which connection that is, and of which instance, is its own affair. */
export interface Upstream {
  /** The only protocol so far; another one will be another member of a union. */
  readonly protocol: "http/1.1";
  /**
   * A connection at once where an idle one is there; otherwise exactly one method of the waiter is called, possibly
   * before this returns. `again` is the second attempt of a request that the first connection did not answer: an
   * instance that was asked already has to open a connection that has carried no request yet.
   */
  acquire(waiter: Waiter, again: boolean): UpstreamConnection | undefined;
  /**
   * Whether somebody else could be asked when the one that was asked says that it has not passed the request on. Only
   * proxies are asked in a choice of several, and only they are believed in this.
   */
  hasElsewhere(): boolean;
  /** Takes back a wait; none of the waiter's methods is called any more. */
  cancel(waiter: Waiter): void;
}
