import type { RandomBytes } from "../../base/clock.ts";
import type { CoarseTimer } from "../coarse-timer.ts";
import type { Http1Limits, Tunnel } from "../http1/index.ts";
import type { RequestHead } from "./forwarding.ts";
import type { ProblemAudience } from "./problem-answer.ts";
import type { CompletedRequest, Review, Verdict } from "./verdict.ts";

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

/** How a connection of HTTP/1.1 is served. */
export interface Http1ServeOptions extends ServeOptions {
  /** Called once per request head; nothing of the request goes upstream before it answers. A throw refuses. */
  readonly decide: (request: RequestHead) => Verdict | Promise<Verdict>;
  readonly onComplete?: (event: CompletedRequest) => void;
  /** Takes a connection over whose client speaks HTTP/2 from its first byte on (RFC 9113, 3.3), with what has been read. */
  readonly onHttp2?: (first: Buffer) => void;
}

/** A client's connection that is being served. */
export interface Http1Connection {
  /** Whether no request is in progress. */
  readonly isIdle: boolean;
  /** Finishes the request in progress, then closes. */
  close(): void;
  /** Ends the request in progress, if it has been allowed and is no more. */
  review(isAllowed: Review): void;
  /** Breaks the connection at once, and what was going on upstream for it. */
  destroy(): void;
}
