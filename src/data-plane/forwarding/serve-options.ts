import type { RandomBytes } from "../../base/clock.ts";
import type { CoarseTimer } from "../coarse-timer.ts";
import type { Http1Limits, Tunnel } from "../http1/index.ts";
import type { ProblemAudience } from "./problem-answer.ts";

/** Which tunnels clients may open. */
export interface TunnelOptions {
  readonly kinds: readonly Tunnel[];
  /** For the keys of WebSockets. */
  readonly randomBytes: RandomBytes;
}

/** How a client's connection is served, whatever it speaks. */
export interface ServeOptions {
  readonly timer: CoarseTimer;
  readonly limits?: Http1Limits;
  /** None unless given: who asks for one is refused. */
  readonly tunnels?: TunnelOptions;
  /** How much the client is told when something fails; all of it unless given. */
  readonly audience?: ProblemAudience;
  /** What deciding threw, or what was wrong with its edits: a fault of ours, of which the client learns nothing. */
  readonly onFault?: (fault: unknown) => void;
}
