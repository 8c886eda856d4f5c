import type { Client } from "@connectrpc/connect";
import type { Clock, RandomBytes } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { FollowerStatus, Mesh } from "../../protocol/index.ts";
import type { LogView } from "../../transport/index.ts";

/** What the Workload API has of the agent around it. */
export interface AgentPort {
  /** The node's name. */
  readonly node: string;
  /** Empty before the log's first entry is here. */
  readonly trustDomain: () => string;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  /** At least 0 and below 1, for jitter. */
  readonly random: () => number;
  readonly log: Log;
  /** What the agent knows now. */
  readonly view: () => LogView;
  /** Calls back after every step of the log, and when the control plane comes, until the returned function is called. */
  readonly onChange: (callback: () => void) => () => void;
  /** The control plane, while it is there and has proved to be it. */
  readonly upstream: () => Client<typeof Mesh> | undefined;
  /** An instance is here until the returned function is called; false where there is no place for it. */
  readonly arrive: (instance: string) => (() => void) | false;
  /** Has the control plane told of instances. */
  readonly report: (statuses: readonly FollowerStatus[]) => void;
  /** Has the log forget instances, now. */
  readonly end: (instances: readonly string[]) => Promise<void>;
}
