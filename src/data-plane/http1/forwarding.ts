import type { BodyCursor } from "./body-framing.ts";
import type { Http1Failure } from "./http1-failure.ts";
import type { Http1Limits } from "./http1-limits.ts";
import type { RequestHead, RequestRefusal } from "./scan-request-head.ts";
import type { ResponseHead } from "./scan-response-head.ts";
import type { HeadEdits, ResponseChanges } from "./serialise-head.ts";
import type { Http1Upstream } from "./upstream.ts";

/** A failure while a request was being forwarded. */
export type ExchangeFailure = Exclude<Http1Failure, RequestRefusal>;

/** The client's end of an exchange, whatever protocol the upstream speaks. */
export interface ForwardingClient {
  /** Whether the connection ends with this response. */
  readonly isClosing: boolean;
  pauseReading(): void;
  /** Calls `onDeadline` unless it is asked again within `millis`. */
  waitAtMost(millis: number): void;
  /** The exchange takes the bytes of the request's body from now on. */
  onBodyWanted(): void;
  /** The whole response has been written; `mayContinue` unless either side's framing forbids another request. */
  onResponded(mayContinue: boolean): void;
  /** The exchange has failed. */
  onFailed(failure: ExchangeFailure, detail: string, progress: ExchangeProgress): void;
}

/** How far an exchange came: nothing went upstream, or something did, or the client has a part of the response. */
export type ExchangeProgress = "unsent" | "sent" | "answering";

/** The client's end of an exchange with an HTTP/1.1 upstream. */
export interface ExchangeClient extends ForwardingClient {
  /** Whether the client's protocol frames bodies itself, so that it gets their bytes without any coding. */
  readonly framesBodies: boolean;
  /** Sends an interim response. */
  writeInterim(head: ResponseHead): void;
  /** Sends the head of the response with the first bytes of its body, by the rules of {@link ExchangeClient.write}. */
  writeHead(head: ResponseHead, changes: ResponseChanges, body: Buffer, isEnd: boolean): boolean;
  /**
   * Sends bytes of the body, which may be overwritten after the call; `isEnd` where they are its last. False asks to
   * wait for `clientDrained`.
   */
  write(bytes: Buffer, isEnd: boolean): boolean;
}

/** A client that speaks HTTP/1.1, as an upstream of another protocol answers it. */
export interface Http1Client extends ForwardingClient {
  /** Sends bytes that will not change any more; false asks to wait for `clientDrained`. */
  send(bytes: Uint8Array): boolean;
}

/** A request that has been allowed, and how it is to be sent. */
export interface ForwardedRequest<Client extends ForwardingClient> {
  readonly client: Client;
  readonly request: RequestHead;
  readonly requestBody: BodyCursor;
  readonly edits: HeadEdits;
  readonly limits: Http1Limits;
}

/** What has been read of a request's body along with its head: as it came, and without the chunked coding. */
export interface FirstBody {
  readonly raw: Buffer;
  readonly payload: Buffer;
}

/** A request on its way and its response on the way back, as the client's connection drives them. */
export interface RunningExchange {
  /** Status of the final response, 0 before there is one. */
  readonly status: number;
  /** Body bytes of the response so far, without framing. */
  readonly responseBytes: number;
  /** Finds a way to the upstream and sends the head. */
  start(): void;
  /** Takes bytes of the request's body; answers with the end of what it took, or -1 when it has failed over them. */
  onRequestBytes(window: Buffer, at: number, end: number): number;
  /** The client has taken what was written to it. */
  clientDrained(): void;
  /** Ends the exchange because the client has gone; nobody is told. */
  abort(): void;
  /** Nothing has moved for as long as it may. */
  onDeadline(): void;
}

/** Where requests of HTTP/1.1 clients become streams of a multiplexed connection. */
export interface StreamUpstream {
  readonly protocol: "h2";
  /** Takes a request on; throws where its edits are none (serialise-head.ts). */
  begin(request: ForwardedRequest<ExchangeClient & Http1Client>, firstBody: FirstBody): RunningExchange;
}

/** Where a request can be sent. */
export type Upstream = Http1Upstream | StreamUpstream;
