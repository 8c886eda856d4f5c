import type { HeadEdits } from "../http1/index.ts";
import type { RequestHead, Upstream } from "./forwarding.ts";
import type { Answer } from "./problem-answer.ts";
import type { RequestFailure } from "./request-failure.ts";

/** What becomes of a request. */
export type Verdict =
  | { readonly kind: "forward"; readonly upstream: Upstream; readonly edits: HeadEdits }
  | Answer;

/** What became of a request. */
export interface CompletedRequest {
  /** The head; absent where it was refused before it was one. */
  readonly request: RequestHead | undefined;
  /** The status that the client got, 0 if it got none. */
  readonly status: number;
  /** Body bytes read from the client, without framing. */
  readonly requestBytes: number;
  /** Body bytes written to the client, without framing. */
  readonly responseBytes: number;
  /** From the last byte of the head to the last byte handed to the client's socket. */
  readonly durationMicros: number;
  readonly error?: RequestFailure;
}

/** Says of a request that was allowed whether it still is. */
export type Review = (request: RequestHead) => boolean;

/** Decides on requests, one after the other, and hears what became of each. */
export interface RequestObserver {
  /** Called once per request head; nothing of the request goes upstream before it answers. A throw refuses. */
  decide(request: RequestHead): Verdict | Promise<Verdict>;
  onComplete(event: CompletedRequest): void;
}
