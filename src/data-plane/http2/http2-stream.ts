import type { FrameWriter } from "./frame-writer.ts";
import type { HeaderField } from "./hpack/header-field.ts";
import { errorCode, type Http2Violation } from "./http2-violation.ts";
import type { Http2ResponseHead } from "./message-head.ts";

/** Who deals with one stream. Methods are called from the session's input or flush, never from a stream's method. */
export interface StreamHandler {
  /** `window[start, end)` of the body, overwritten after the call; all must be given back with `consume`. */
  onData(window: Buffer, start: number, end: number): void;
  /** The peer's message is complete; called once, unless the stream is reset before. */
  onEnd(trailers: readonly HeaderField[] | undefined): void;
  /** The stream is over before both messages were; `violation` where that was our own judgement. */
  onReset(code: number, violation: Http2Violation | undefined): void;
  /** After `sendData` took less than it was given: it may be called again. */
  onWritable(): void;
  /** The deadline set with `waitAtMost` has passed. */
  onDeadline(): void;
}

/** Who deals with a stream that we opened. */
export interface ResponseHandler extends StreamHandler {
  /** An interim response (1xx). */
  onInterim(head: Http2ResponseHead): void;
  /** The response's head; `isEnd` says that `onEnd` follows at once. */
  onResponse(head: Http2ResponseHead, isEnd: boolean): void;
}

/** What a stream asks of its session. */
export interface StreamSession {
  sendHead(stream: Http2Stream, fields: readonly HeaderField[], isEnd: boolean): void;
  /** How many of `wanted` bytes the stream may send now; if fewer, `onWritable` is called when there may be more. */
  grant(stream: Http2Stream, wanted: number): number;
  /** Our message on a stream is complete. */
  endLocal(stream: Http2Stream): void;
  readonly writer: FrameWriter;
  /** Whether the peer takes a header list of this size. */
  takes(fields: readonly HeaderField[]): boolean;
  reset(stream: Http2Stream, code: number): void;
  consume(stream: Http2Stream, bytes: number): void;
  deadlineIn(millis: number): number;
}

/** One request and its response, from either side. */
export class Http2Stream {
  readonly id: number;
  handler: StreamHandler;
  /** The same handler, where the stream is one that we opened. */
  responses: ResponseHandler | undefined = undefined;
  /** Nothing more is sent on it. */
  isLocalEnded = false;
  /** Nothing more is received on it. */
  isRemoteEnded = false;
  /** Ended by either side before its messages were complete. */
  isReset = false;
  /** Bytes received and not yet consumed. */
  unconsumedBytes = 0;
  /** Bytes consumed that the peer has not been credited with. */
  uncreditedBytes = 0;
  sendWindow: number;
  receiveWindow: number;
  /** Whether `onWritable` is owed. */
  wantsToSend = false;
  /** Since when it has been waiting for the peer's windows. */
  stalledMillis: number | undefined = undefined;
  isQueued = false;
  nextInQueue: Http2Stream | undefined = undefined;
  /** Whether the final head of our message has been sent. */
  hasSentHead = false;
  /** Whether the final head of the peer's message has come. */
  hasHead = false;
  interimResponses = 0;
  /** The length the peer declared, and what came of it. */
  contentLength: number | undefined = undefined;
  bodyBytes = 0;
  /** Whether the peer's message has no body by the request's method. */
  isBodiless = false;
  /** Whether the request is a CONNECT, of either form. */
  isConnect = false;
  /** Whether the peer has opened what it asked for: nothing but data may follow (RFC 9113, 8.5). */
  isTunnel = false;
  /** How long it may wait for the peer's windows, where that is not what the session's limits say. */
  sendStallMillis: number | undefined = undefined;
  deadlineMillis: number | undefined = undefined;
  /** On the coarse timer's clock. */
  readonly openedMillis: number;
  private readonly session: StreamSession;

  constructor(id: number, session: StreamSession, opened: { send: number; receive: number; millis: number }) {
    this.id = id;
    this.session = session;
    this.handler = nobody;
    this.sendWindow = opened.send;
    this.receiveWindow = opened.receive;
    this.openedMillis = opened.millis;
  }

  /** Whether nothing is sent or received any more. */
  get isClosed(): boolean {
    return this.isReset || (this.isLocalEnded && this.isRemoteEnded);
  }

  /** Sends the head of a response; the final one once. A stream that is over takes it in silence. */
  sendHead(fields: readonly HeaderField[], isEnd: boolean): void {
    if (this.isLocalEnded || this.hasSentHead) return;
    this.hasSentHead = true;
    this.session.sendHead(this, fields, isEnd);
  }

  /** Whether the peer takes a header list of this size; a larger one is not to be sent. */
  takes(fields: readonly HeaderField[]): boolean {
    return this.session.takes(fields);
  }

  /** Sends an interim response (1xx). */
  sendInterim(fields: readonly HeaderField[]): void {
    if (!this.isLocalEnded && !this.hasSentHead) this.session.sendHead(this, fields, false);
  }

  /**
   * Sends `window[start, end)` of the body, which stays the caller's; `isEnd` ends the message if all was taken.
   * Answers with how much was; where it was less, `onWritable` says when more may be given. A stream that is over
   * takes all, in silence.
   */
  sendData(window: Buffer, start: number, end: number, isEnd: boolean): number {
    const wanted = end - start;
    if (this.isLocalEnded || !this.hasSentHead) return wanted;
    const { session } = this;
    const granted = wanted === 0 ? 0 : session.grant(this, wanted);
    const isWhole = granted === wanted;
    if (this.isLocalEnded) return wanted;
    if (granted > 0 || (isEnd && isWhole)) {
      const at = session.writer.data(this.id, granted, isEnd && isWhole);
      window.copy(session.writer.output.bytes, at, start, start + granted);
    }
    if (isEnd && isWhole) session.endLocal(this);
    return granted;
  }

  /** Ends our message with trailers. */
  sendTrailers(fields: readonly HeaderField[]): void {
    if (!this.isLocalEnded && this.hasSentHead) this.session.sendHead(this, fields, true);
  }

  /** Ends the stream at once with an error code of RFC 9113, 7; the handler is not called any more. */
  reset(code: number = errorCode.cancel): void {
    if (!this.isClosed) this.session.reset(this, code);
  }

  /** Gives bytes back that `onData` handed over, so that the peer may send as many. */
  consume(bytes: number): void {
    this.session.consume(this, bytes);
  }

  /** Calls `onDeadline` unless it is asked again within `millis`; `Infinity` waits for nothing. */
  waitAtMost(millis: number): void {
    this.deadlineMillis = this.session.deadlineIn(millis);
  }
}

const nobody: StreamHandler = {
  onData: () => {},
  onEnd: () => {},
  onReset: () => {},
  onWritable: () => {},
  onDeadline: () => {},
};
