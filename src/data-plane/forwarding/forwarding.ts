import type {
  BodyCursor,
  HeadEdits,
  Http1Limits,
  Http1RequestHead,
  Http1ResponseHead,
  RequestRefusal,
  Trailer,
} from "../http1/index.ts";
import type { Http2ResponseHead } from "../http2/index.ts";
import type { FieldRequestHead } from "./judge-fields.ts";
import type { RequestFailure } from "./request-failure.ts";

/** The head of a request as it came, over HTTP/1.1 or HTTP/2, in which everything was in order. */
export type RequestHead = Http1RequestHead | FieldRequestHead;

/** The head of a response as it came, over HTTP/1.1 or HTTP/2; each client writes it in its own protocol. */
export type ResponseHead = Http1ResponseHead | Http2ResponseHead;

/** Says that a message is complete. */
export interface MessageEnd {
  readonly trailers: readonly Trailer[];
}

/** The end of a message without trailers. */
export const plainEnd: MessageEnd = { trailers: [] };

/** The end of a message whose body is complete, without trailers that `Connection` declared to be for this hop only. */
export function endOf(body: BodyCursor, nominated: readonly string[] | undefined): MessageEnd | undefined {
  if (!body.isComplete) return undefined;
  const { trailers } = body;
  if (trailers.length === 0) return plainEnd;
  return { trailers: trailers.filter(({ name }) => nominated?.includes(name) !== true) };
}

/** A failure while a request was being forwarded. */
export type ForwardingFailure = Exclude<RequestFailure, RequestRefusal>;

/** How far a request came: nothing went upstream, or something did, or the client has a part of the response. */
export type ForwardingProgress = "unsent" | "sent" | "answering";

/**
 * The client's end of a request that is being forwarded, whatever protocol either side speaks.
 *
 * A request that has a `tunnel` comes without a body and without an end. The head of a response that opens it
 * (`opensTunnel`) is written with `writeHead`; only then the upstream wants bytes (`onBodyWanted`), which come as the
 * request's body and are not framed, and its own go to the client by `write`. Either side says with an `end` that it
 * sends no more, which leaves the other direction open; when both have, the upstream calls `onResponded`. A reset is
 * `abort` from the client and `onFailed` from the upstream. Any other response is an ordinary one.
 */
export interface ForwardingClient {
  /** The upstream takes bytes of the request's body from now on. */
  onBodyWanted(): void;
  /** It takes none until it wants them again. */
  pauseBody(): void;
  /** Calls `onDeadline` unless it is asked again within `millis`. */
  waitAtMost(millis: number): void;
  /** Sends an interim response, to a client whose protocol knows them. */
  writeInterim(head: ResponseHead): void;
  /**
   * Sends the head of the response with the first bytes of its body, without framing; they may be overwritten after the
   * call. `end` where that is all. False asks to wait for `clientDrained`.
   */
  writeHead(head: ResponseHead, body: Buffer, end: MessageEnd | undefined): boolean;
  /** Sends more of the body, by the same rules. */
  write(body: Buffer, end: MessageEnd | undefined): boolean;
  /** The whole response has been written. */
  onResponded(): void;
  /** The request has failed. */
  onFailed(failure: ForwardingFailure, detail: string, progress: ForwardingProgress): void;
}

/** A request that has been allowed, and how it is to be sent. */
export interface ForwardedRequest {
  readonly client: ForwardingClient;
  readonly request: RequestHead;
  readonly edits: HeadEdits;
  readonly limits: Http1Limits;
  /** What is there of the body, without framing; it will not change. Nothing of what goes through a tunnel. */
  readonly firstBody: Buffer;
  /** Where that is all; never of a tunnel. */
  readonly end: MessageEnd | undefined;
}

/** A request on its way and its response on the way back, as the client's connection drives them. */
export interface Forwarding {
  /** Status of the final response, 0 before there is one. */
  readonly status: number;
  /** Body bytes of the response so far, without framing. */
  readonly responseBytes: number;
  /** Finds a way to the upstream and sends the head. */
  start(): void;
  /** Takes more of the request's body, without framing, which will not change; only while it is wanted. */
  onBody(body: Buffer, end: MessageEnd | undefined): void;
  /** The client has taken what was written to it. */
  clientDrained(): void;
  /** Ends it over what is wrong with the rest of the request; the client hears how far it had come. */
  fail(failure: ForwardingFailure, detail: string): void;
  /** Ends it because the client has gone; nobody is told. */
  abort(): void;
  /** Nothing has moved for as long as it may. */
  onDeadline(): void;
}

/** Where a request can be sent. */
export interface Upstream {
  /** Takes a request on; throws where its edits are none (serialise-head.ts). */
  begin(request: ForwardedRequest): Forwarding;
}
