import {
  type AcquireRefusal,
  type BodyCursor,
  type ConnectionPool,
  checkEdits,
  Exchange,
  type ExchangeClient,
  type ExchangeFailure,
  type FirstBody,
  type ForwardedRequest,
  type Http1Client,
  type Http1Upstream,
  isRepeatable,
  type RequestHead,
  type RunningExchange,
  undeliveredName,
  undeliveredStatus,
  undeliveredValue,
} from "../http1/index.ts";
import {
  errorCode,
  type HeaderField,
  type Http2ResponseHead,
  type Http2Stream,
  type Http2Violation,
  type ResponseHandler,
} from "../http2/index.ts";
import { responseText } from "./head-text.ts";
import type { InstanceLink, LinkSession, LinkWaiter } from "./instance-link.ts";

/** How many instances are tried before a request is given up for want of a connection. */
const attemptsMax = 3;
/** How often a request that no server has looked at is sent again. */
const resendsMax = 3;

/** The instances that a request can go to. */
export interface LinkChoice {
  /** One to try, other than those already tried; undefined where there is none. */
  pick(tried: readonly InstanceLink[]): InstanceLink | undefined;
  /** Whether there is another one. */
  hasOther(than: InstanceLink): boolean;
  /** Has an instance left alone for a moment where others can be asked. */
  avoid(link: InstanceLink): void;
}

/** A request of an HTTP/1.1 client on its way as a stream of HTTP/2, or over HTTP/1.1 where that is all a peer speaks. */
export class StreamExchange implements RunningExchange, ResponseHandler, LinkWaiter {
  private ownStatus = 0;
  private ownResponseBytes = 0;
  private readonly parts: ForwardedRequest<ExchangeClient & Http1Client>;
  private readonly client: Http1Client;
  private readonly request: RequestHead;
  private readonly requestBody: BodyCursor;
  private readonly firstBody: FirstBody;
  private readonly choice: LinkChoice;
  private tried: readonly InstanceLink[] = untried;
  /** The link that has been asked for a connection, while it is awaited. */
  private asked: InstanceLink | undefined;
  private link: InstanceLink | undefined;
  private lane: LinkSession | undefined;
  private stream: Http2Stream | undefined;
  /** What carries it on where the peer speaks HTTP/1.1. */
  private http1: Exchange | undefined;
  /** Bytes of the request's body that the peer's windows have no room for. */
  private pending: Buffer | undefined;
  /** Whether all that was sent of the body is still here. */
  private isReplayable = true;
  private resends = 0;
  /** Parts of the response that go to the client in one piece at the end of a turn. */
  private unsent: Buffer[] = [];
  private unsentCredit = 0;
  /** Bytes that the peer is credited with once the client has room again. */
  private owedBytes = 0;
  private isBlocked = false;
  private isChunked = false;
  private hasSent = false;
  private hasAskedElsewhere = false;
  private hasHeard = false;
  private hasHead = false;
  private hasBegun = false;
  private mayContinue = false;
  private isOver = false;

  /** Throws where the edits are none (serialise-head.ts). */
  constructor(
    parts: ForwardedRequest<ExchangeClient & Http1Client>,
    firstBody: FirstBody,
    choice: LinkChoice,
  ) {
    checkEdits(parts.edits);
    this.parts = parts;
    this.client = parts.client;
    this.request = parts.request;
    this.requestBody = parts.requestBody;
    this.firstBody = firstBody;
    this.choice = choice;
  }

  get status(): number {
    return this.http1?.status ?? this.ownStatus;
  }

  get responseBytes(): number {
    return this.http1?.responseBytes ?? this.ownResponseBytes;
  }

  start(): void {
    this.client.waitAtMost(Number.POSITIVE_INFINITY);
    this.seek("upstream-connect-failed", "no instance");
  }

  onRequestBytes(window: Buffer, at: number, end: number): number {
    const { requestBody, stream, http1 } = this;
    if (http1 !== undefined) return http1.onRequestBytes(window, at, end);
    if (stream === undefined || requestBody.isComplete) return at;
    const bodyEnd = requestBody.advance(window, at, end);
    if (bodyEnd < 0) {
      this.fail(requestBody.refusal ?? "chunk-size-invalid", "");
      return -1;
    }
    this.isReplayable = false;
    this.sendBody(stream, requestBody.payloadOf(window.subarray(at, bodyEnd), at));
    if (this.pending !== undefined && !requestBody.isComplete) this.client.pauseReading();
    this.waitForProgress();
    return bodyEnd;
  }

  clientDrained(): void {
    if (this.http1 !== undefined) return this.http1.clientDrained();
    this.isBlocked = false;
    this.stream?.consume(this.owedBytes);
    this.owedBytes = 0;
    this.waitForProgress();
  }

  abort(): void {
    this.isOver = true;
    this.asked?.cancel(this);
    this.asked = undefined;
    this.http1?.abort();
    this.leaveStream()?.reset(errorCode.cancel);
  }

  onDeadline(): void {
    if (this.http1 !== undefined) return this.http1.onDeadline();
    this.fail(this.isClientLate() ? "body-timeout" : "upstream-timeout", "");
  }

  onSession(lane: LinkSession): void {
    this.asked = undefined;
    const { requestBody, firstBody, client, parts } = this;
    // An empty body in chunks stays a body.
    const isEnd =
      requestBody.isComplete && requestBody.framing.kind !== "chunked" && firstBody.payload.length === 0;
    const fields = lane.lines.request(this.request, parts.edits);
    const stream = lane.session.open(fields, isEnd, this);
    if (stream === undefined) return this.fail("upstream-connect-failed", "no room on the connection");
    this.lane = lane;
    this.stream = stream;
    this.hasSent = true;
    if (!isEnd) this.sendBody(stream, firstBody.payload);
    this.waitForProgress();
    if (requestBody.isComplete) return;
    if (this.pending === undefined) client.onBodyWanted();
    else client.pauseReading();
  }

  /** Nothing has been sent yet, so another instance can be asked as well where this one has no connection. */
  onHttp1(pool: ConnectionPool): void {
    this.asked = undefined;
    const upstream: Http1Upstream = {
      protocol: "http/1.1",
      acquire: (waiter, isFresh) =>
        pool.acquire(
          {
            onConnection: (connection) => waiter.onConnection(connection),
            onNoConnection: (reason, detail) => {
              this.http1 = undefined;
              this.onNoLink(reason, detail);
            },
          },
          isFresh,
        ),
      cancel: (waiter) => pool.cancel(waiter),
    };
    this.http1 = new Exchange({ ...this.parts, upstream }, this.firstBody.raw);
    this.http1.start();
  }

  onNoLink(reason: AcquireRefusal, detail: string): void {
    this.asked = undefined;
    if (!this.isOver) this.seek(reason, detail);
  }

  onWritable(): void {
    const { pending, stream, requestBody } = this;
    if (pending === undefined || stream === undefined) return;
    this.pending = undefined;
    this.sendBody(stream, pending);
    this.waitForProgress();
    if (this.pending === undefined && !requestBody.isComplete) this.client.onBodyWanted();
  }

  onInterim(head: Http2ResponseHead): void {
    this.hasHeard = true;
    if (this.request.minorVersion === 0) return;
    const text = responseText(head, { isChunked: false, isEmpty: false, close: false });
    this.client.send(Buffer.from(text, "latin1"));
  }

  onResponse(head: Http2ResponseHead, isEnd: boolean): void {
    if (this.mayAskElsewhere(head)) return this.askElsewhere();
    const { request, client } = this;
    const { status } = head;
    const isEarly = !this.requestBody.isComplete;
    const mayHaveBody = request.method !== "HEAD" && status !== 204 && status !== 304;
    const isOpen = mayHaveBody && head.contentLength === undefined;
    const isOneDotOne = request.minorVersion === 1;
    this.hasHeard = true;
    this.hasHead = true;
    this.ownStatus = status;
    this.isChunked = isOpen && !isEnd && isOneDotOne;
    this.mayContinue = request.keepAlive && !isEarly && isOneDotOne && !client.isClosing;
    const framing = { isChunked: this.isChunked, isEmpty: isOpen && isEnd, close: !this.mayContinue };
    this.unsent.push(Buffer.from(responseText(head, framing), "latin1"));
    this.lane?.flushLater(this);
  }

  onData(window: Buffer, start: number, end: number): void {
    const { unsent } = this;
    const bytes = end - start;
    this.ownResponseBytes += bytes;
    this.unsentCredit += bytes;
    if (unsent.length === 0) this.lane?.flushLater(this);
    if (this.isChunked) unsent.push(Buffer.from(`${bytes.toString(16)}\r\n`, "latin1"));
    unsent.push(Buffer.from(window.subarray(start, end)));
    if (this.isChunked) unsent.push(lineEnd);
  }

  onEnd(trailers: readonly HeaderField[] | undefined): void {
    if (this.isOver) return;
    // One may carry the digest or signature that the application relies on, and its protocol has no place for it.
    if (trailers !== undefined && trailers.length > 0)
      return this.fail("upstream-malformed-response", "trailer fields");
    if (this.isChunked) this.unsent.push(lastChunk);
    this.flush();
    this.isOver = true;
    // A request that was answered before its end need not be sent to it.
    this.leaveStream()?.reset(errorCode.cancel);
    this.client.onResponded(this.mayContinue);
  }

  onReset(code: number, violation: Http2Violation | undefined): void {
    this.leaveStream();
    if (this.isOver) return;
    const isUntouched = code === errorCode.refusedStream && violation === undefined;
    const mayResend = this.isReplayable && isUntouched && this.resends < resendsMax;
    const isLost = code === errorCode.connectError && violation === undefined;
    const mayRepeat = isLost && isRepeatable(this.request) && !this.hasHeard && this.resends === 0;
    if (this.hasHead || !(mayResend || mayRepeat))
      return this.fail("upstream-reset", violation ?? `stream reset with code ${code}`);
    this.resends += 1;
    // Only a connection may have died, and not what was at its other end; it comes last now, but it comes.
    if (isLost && this.link !== undefined) this.choice.avoid(this.link);
    this.tried = untried;
    this.start();
  }

  /** Sends what has come of the response; called once all that came in one turn has been read. */
  flush(): void {
    const { unsent, unsentCredit } = this;
    const [first] = unsent;
    if (first === undefined || this.isOver) return;
    this.unsent = [];
    this.unsentCredit = 0;
    this.hasBegun = true;
    const isFlowing = this.client.send(unsent.length === 1 ? first : Buffer.concat(unsent));
    if (!isFlowing) this.isBlocked = true;
    if (this.isBlocked) this.owedBytes += unsentCredit;
    else this.stream?.consume(unsentCredit);
    this.waitForProgress();
  }

  /**
   * Whether the answer says that no application has seen the request, and another may be asked: then even one that is
   * not idempotent is not repeated, only sent for the first time (compare RFC 9113, 8.7).
   */
  private mayAskElsewhere({ status, fields }: Http2ResponseHead): boolean {
    const { link, isReplayable, requestBody, hasAskedElsewhere } = this;
    if (status !== undeliveredStatus || link === undefined || hasAskedElsewhere) return false;
    if (!isReplayable || !requestBody.isComplete || !this.choice.hasOther(link)) return false;
    return fields.some(({ name, value }) => name === undeliveredName && value === undeliveredValue);
  }

  private askElsewhere(): void {
    if (this.link !== undefined) this.choice.avoid(this.link);
    this.hasAskedElsewhere = true;
    this.leaveStream()?.reset(errorCode.cancel);
    this.tried = untried;
    this.start();
  }

  private seek(reason: AcquireRefusal, detail: string): void {
    const link = this.tried.length < attemptsMax ? this.choice.pick(this.tried) : undefined;
    if (link === undefined) return this.fail(reason, detail);
    const lane = link.ready();
    this.link = link;
    if (lane !== undefined) return this.onSession(lane);
    this.tried = [...this.tried, link];
    this.asked = link;
    link.await(this);
  }

  private sendBody(stream: Http2Stream, piece: Buffer): void {
    const { pending, requestBody } = this;
    const bytes = pending === undefined ? piece : Buffer.concat([pending, piece]);
    const taken = pending === undefined ? stream.sendData(bytes, 0, bytes.length, requestBody.isComplete) : 0;
    const isAll = taken === bytes.length && pending === undefined;
    this.pending = isAll ? undefined : bytes.subarray(taken);
  }

  private fail(failure: ExchangeFailure, detail: string): void {
    if (this.isOver) return;
    this.abort();
    const sent = this.hasSent ? "sent" : "unsent";
    this.client.onFailed(failure, detail, this.hasBegun ? "answering" : sent);
  }

  private leaveStream(): Http2Stream | undefined {
    const { stream } = this;
    this.stream = undefined;
    this.lane = undefined;
    this.pending = undefined;
    return stream;
  }

  private waitForProgress(): void {
    const { limits } = this.parts;
    const isWaiting = this.requestBody.isComplete && !this.hasHead;
    this.client.waitAtMost(isWaiting ? limits.responseHeadMillis : limits.bodyIdleMillis);
  }

  /** Whether it is the client's body that is missing, and not the upstream's leave to send it. */
  private isClientLate(): boolean {
    if (this.requestBody.isComplete || this.pending !== undefined) return false;
    return !this.request.expectsContinue || this.hasHeard || this.requestBody.payloadBytes > 0;
  }
}

const untried: readonly InstanceLink[] = [];
const lineEnd = Buffer.from("\r\n");
const lastChunk = Buffer.from("0\r\n\r\n");
