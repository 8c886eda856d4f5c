import { checkEdits, checkTrailers, type HeadEdits, type Http1Limits, type Trailer } from "../http1/index.ts";
import {
  errorCode,
  type HeaderField,
  type Http2ResponseHead,
  type Http2Stream,
  type Http2Violation,
  type ResponseHandler,
} from "../http2/index.ts";
import type { ConnectionPool } from "./connection-pool.ts";
import type { AcquireRefusal, ConnectionSource, Waiter } from "./connection-source.ts";
import {
  type Attempts,
  type ForwardedRequest,
  type Forwarding,
  type ForwardingClient,
  type ForwardingFailure,
  type MessageEnd,
  plainEnd,
  type RequestHead,
} from "./forwarding.ts";
import { Http1Exchange, isRepeatable } from "./http1-exchange.ts";
import type { InstanceLink, LinkSession, LinkWaiter } from "./instance-link.ts";
import type { LinkChoice } from "./link-choice.ts";
import { failureOfReset, speaksAgainstInstance } from "./request-failure.ts";
import { tokenField } from "./request-tokens.ts";
import { SentRequest } from "./sent-request.ts";
import { ShownToken, type TokenTaker } from "./shown-token.ts";
import { opensTunnel, silenceMillisOf } from "./tunnel.ts";
import { saysUndelivered } from "./undelivered.ts";

/** How many instances are tried before a request is given up for want of a connection or of an application. */
const attemptsMax = 3;
/** How often a request that no server has looked at is sent again. */
const resendsMax = 3;

/** A request on its way as a stream of HTTP/2, or over HTTP/1.1 where that is all a peer speaks, and its response. */
export class Http2Exchange implements Forwarding, ResponseHandler, LinkWaiter, TokenTaker {
  private ownStatus = 0;
  private ownResponseBytes = 0;
  private readonly client: ForwardingClient;
  private readonly request: RequestHead;
  private readonly edits: HeadEdits;
  private readonly limits: Http1Limits;
  private readonly choice: LinkChoice;
  private readonly attempts: Attempts | undefined;
  private tried: readonly InstanceLink[] = untried;
  /** The link that has been asked for a connection, while it is awaited. */
  private asked: InstanceLink | undefined;
  private token: ShownToken | undefined;
  private link: InstanceLink | undefined;
  private lane: LinkSession | undefined;
  private sent: SentRequest | undefined;
  private stream: Http2Stream | undefined;
  /** What carries it on where the peer speaks HTTP/1.1. */
  private http1: Http1Exchange | undefined;
  /** What there was of the body at first; all that was sent of it as long as `isReplayable`, and then given back. */
  private firstBody: Buffer;
  /** Bytes of the request's body that the peer's windows have no room for. */
  private pending: Buffer | undefined;
  private requestEnd: MessageEnd | undefined;
  private hasBody: boolean;
  /** Whether all that was sent of the body is still here. */
  private isReplayable = true;
  private resends = 0;
  /** Parts of the response that go to the client in one piece at the end of a turn. */
  private unsentHead: Http2ResponseHead | undefined;
  private unsent: Buffer[] = [];
  private unsentBytes = 0;
  /** Bytes that the peer is credited with once the client has room again. */
  private owedBytes = 0;
  private isBlocked = false;
  private hasSent = false;
  /** Instances that have said that their application was not given the request. */
  private undeliveredBy: readonly InstanceLink[] = untried;
  private hasHeard = false;
  private hasHead = false;
  private isTunnelOpen = false;
  /** How long the body of the response may be silent, once it has begun. */
  private silenceMillis: number | undefined;
  /** Whether the other end of an open tunnel sends no more. */
  private hasResponseEnded = false;
  private hasBegun = false;
  private isOver = false;

  /** Throws where the edits are none (serialise-head.ts). */
  constructor(parts: ForwardedRequest, choice: LinkChoice) {
    checkEdits(parts.edits);
    this.client = parts.client;
    this.request = parts.request;
    this.edits = parts.edits;
    this.limits = parts.limits;
    this.firstBody = parts.firstBody;
    this.requestEnd = parts.end;
    this.hasBody = parts.firstBody.length > 0;
    this.attempts = parts.attempts;
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

  onBody(body: Buffer, end: MessageEnd | undefined): void {
    const { stream, http1 } = this;
    if (http1 !== undefined) return http1.onBody(body, end);
    if (stream === undefined || this.requestEnd !== undefined) return;
    this.requestEnd = end;
    this.hasBody ||= body.length > 0;
    this.isReplayable = false;
    this.firstBody = nothing;
    this.sendBody(stream, body);
    if (this.pending !== undefined && end === undefined) this.client.pauseBody();
    this.waitForProgress();
    this.endTunnel();
  }

  clientDrained(): void {
    if (this.http1 !== undefined) return this.http1.clientDrained();
    this.isBlocked = false;
    this.stream?.consume(this.owedBytes);
    this.owedBytes = 0;
    this.waitForProgress();
  }

  fail(failure: ForwardingFailure, detail: string): void {
    if (this.http1 !== undefined) return this.http1.fail(failure, detail);
    if (this.isOver) return;
    this.sent?.onFailed(failure);
    if (speaksAgainstInstance(failure)) this.link?.noteFailure(this.hasHeard);
    this.abort();
    const sent = this.hasSent ? "sent" : "unsent";
    this.client.onFailed(failure, detail, this.hasBegun ? "answering" : sent);
  }

  abort(): void {
    this.isOver = true;
    this.sent?.onAbandoned();
    this.asked?.cancel(this);
    this.asked = undefined;
    this.token?.cancel();
    this.http1?.abort();
    this.leaveStream()?.reset(errorCode.cancel);
  }

  onDeadline(): void {
    if (this.http1 !== undefined) return this.http1.onDeadline();
    if (this.isBlocked) return this.fail("client-gone", "");
    if (this.isTunnelOpen) return this.fail("tunnel-idle", "");
    this.fail(this.isClientLate() ? "body-timeout" : "upstream-timeout", "");
  }

  onSession(lane: LinkSession): void {
    this.asked = undefined;
    const { request, edits } = this;
    if (request.tunnel === "websocket" && !lane.session.takesExtendedConnect) return this.useUpgrade();
    const { tokens } = lane;
    if (tokens === undefined) return this.onToken(lane, "");
    this.token ??= new ShownToken(request, edits, this);
    this.token.ask(lane, tokens);
    // Until then it is the token's time that runs.
    if (this.token.isAwaited) this.client.waitAtMost(Number.POSITIVE_INFINITY);
  }

  onNoToken(detail: string): void {
    this.leaveAlone();
    if (this.link !== undefined && !this.tried.includes(this.link)) this.tried = [...this.tried, this.link];
    this.seek("request-token-unavailable", detail);
  }

  onToken(lane: LinkSession, token: string): void {
    const { client, request, requestEnd, firstBody } = this;
    // An empty body in chunks stays a body.
    const isEnd =
      requestEnd !== undefined &&
      requestEnd.trailers.length === 0 &&
      firstBody.length === 0 &&
      request.framing.kind !== "chunked";
    const fields = lane.lines.request(request, this.edits);
    if (token !== "") fields.push(tokenField(token));
    if (!lane.session.takes(fields))
      return this.fail("head-too-large-for-upstream", "the head is larger than the upstream takes");
    const stream = lane.session.open(fields, isEnd, this);
    if (stream === undefined) return this.fail("upstream-connect-failed", "no room on the connection");
    this.lane = lane;
    this.stream = stream;
    this.hasSent = true;
    const { outcomes } = this.choice;
    if (outcomes !== undefined && this.link !== undefined)
      this.sent = new SentRequest(outcomes, this.link, this.request);
    if (!isEnd) this.sendBody(stream, firstBody);
    this.waitForProgress();
    if (requestEnd !== undefined || request.tunnel !== undefined) return;
    if (this.pending === undefined) client.onBodyWanted();
    else client.pauseBody();
  }

  /** A peer that knows no extended CONNECT may yet know the upgrade of HTTP/1.1. */
  private useUpgrade(): void {
    const pool = this.link?.pool;
    if (pool !== undefined) return this.onHttp1(pool);
    this.fail("tunnel-unsupported", "the upstream speaks HTTP/2 without WebSockets (RFC 8441)");
  }

  /** Nothing has been sent yet, so another instance can be asked as well where this one has no connection. */
  onHttp1(pool: ConnectionPool): void {
    this.asked = undefined;
    if (this.request.tunnel === "connect")
      return this.fail("tunnel-unsupported", "the upstream speaks HTTP/1.1, which carries no such tunnel");
    const waiter: Waiter = {
      onConnection: (connection) => this.http1?.onConnection(connection),
      onNoConnection: (reason, detail) => {
        this.http1 = undefined;
        this.onNoLink(reason, detail);
      },
    };
    const connections: ConnectionSource = {
      acquire: (_, wanted) => pool.acquire(waiter, wanted),
      cancel: () => pool.cancel(waiter),
    };
    const { client, request, edits, limits, firstBody, requestEnd: end } = this;
    const tokens = this.link?.tokens;
    this.http1 = new Http1Exchange({ client, request, edits, limits, firstBody, end }, connections, tokens);
    this.http1.start();
  }

  onNoLink(reason: AcquireRefusal, detail: string): void {
    this.asked = undefined;
    if (!this.isOver) this.seek(reason, detail);
  }

  onWritable(): void {
    const { pending, stream } = this;
    if (pending === undefined || stream === undefined) return;
    this.pending = undefined;
    this.sendBody(stream, pending);
    this.waitForProgress();
    if (this.pending === undefined && this.requestEnd === undefined) this.client.onBodyWanted();
    this.endTunnel();
  }

  onInterim(head: Http2ResponseHead): void {
    this.hasHeard = true;
    this.client.writeInterim(head);
  }

  onResponse(head: Http2ResponseHead): void {
    const tokens = this.lane?.tokens;
    if (tokens !== undefined && this.token?.isToBeReplaced(tokens, head) === true && this.isReplayable)
      return this.showAnotherToken();
    this.hasHeard = true;
    this.sent?.onHead(head);
    this.link?.noteAnswer(head.status);
    if (this.mayAskElsewhere(head)) return this.askElsewhere();
    this.hasHead = true;
    this.ownStatus = head.status;
    this.unsentHead = head;
    if (this.request.tunnel !== undefined) this.judgeTunnel(head);
    this.lane?.flushLater(this);
  }

  /** Where no tunnel was opened the answer is an ordinary one, and there is nothing more to ask. */
  private judgeTunnel(head: Http2ResponseHead): void {
    this.isTunnelOpen = opensTunnel(this.request, head);
    const { stream, limits } = this;
    if (stream === undefined) return;
    if (this.isTunnelOpen) {
      stream.sendStallMillis = limits.tunnelIdleMillis;
      return;
    }
    this.requestEnd = plainEnd;
    stream.sendData(nothing, 0, 0, true);
  }

  onData(window: Buffer, start: number, end: number): void {
    const bytes = end - start;
    this.ownResponseBytes += bytes;
    this.unsentBytes += bytes;
    // A view may be kept until the end of the turn: what a socket has read is its reader's (attach-socket.ts).
    if (this.unsentHead === undefined && this.unsent.length === 0) this.lane?.flushLater(this);
    this.unsent.push(window.subarray(start, end));
  }

  onEnd(trailers: readonly HeaderField[] | undefined): void {
    const refusal = trailers === undefined ? undefined : checkTrailers(trailers);
    if (refusal !== undefined) return this.fail("upstream-malformed-response", refusal);
    this.sent?.onEnd(trailers);
    this.send(trailers === undefined || trailers.length === 0 ? plainEnd : { trailers });
    this.hasResponseEnded = true;
    if (this.isTunnelOpen) return this.endTunnel();
    this.isOver = true;
    // A request that was answered before its end need not be sent to it.
    this.leaveStream()?.reset(errorCode.cancel);
    this.client.onResponded();
  }

  /** Ends it once neither side sends any more and all has been sent; each may go on after the other has ended. */
  private endTunnel(): void {
    if (!this.isTunnelOpen || this.isOver || this.pending !== undefined) return;
    if (!this.hasResponseEnded || this.requestEnd === undefined) return this.waitForProgress();
    this.isOver = true;
    this.leaveStream();
    this.client.onResponded();
  }

  onReset(code: number, violation: Http2Violation | undefined): void {
    this.leaveStream();
    const isUntouched = code === errorCode.refusedStream && violation === undefined;
    if (!isUntouched) this.sent?.onFailed("upstream-reset");
    this.sent = undefined;
    const mayResend = this.isReplayable && isUntouched && this.resends < resendsMax;
    const failure = failureOfReset(violation);
    const isSilent = failure === "upstream-timeout";
    const isLost = isSilent || (code === errorCode.connectError && violation === undefined);
    const isOurs = this.attempts?.coverResets !== true;
    const mayRepeat = isOurs && isLost && isRepeatable(this.request) && !this.hasHeard && this.resends === 0;
    const isOver = this.hasHead || !(mayResend || mayRepeat);
    // Only a connection may have died, and not what was at its other end; it comes last now, but it comes.
    if (isSilent || (isLost && !isOver)) this.leaveAlone();
    if (isOver) {
      return this.fail(failure, violation ?? `stream reset with code ${code}`);
    }
    this.resends += 1;
    this.tried = untried;
    // Until there is another stream, nobody takes what follows.
    if (this.requestEnd === undefined) this.client.pauseBody();
    this.start();
  }

  /** Sends what has come of the response; called once all that came in one turn has been read. */
  flush(): void {
    this.send(undefined);
  }

  private send(end: MessageEnd | undefined): void {
    const { unsent, unsentBytes, unsentHead, client } = this;
    if (this.isOver || (unsentHead === undefined && unsentBytes === 0 && end === undefined)) return;
    const [first = nothing] = unsent;
    const body = unsent.length <= 1 ? first : Buffer.concat(unsent, unsentBytes);
    this.unsentHead = undefined;
    this.unsent = [];
    this.unsentBytes = 0;
    this.hasBegun = true;
    const isFlowing =
      unsentHead === undefined ? client.write(body, end) : client.writeHead(unsentHead, body, end);
    if (!isFlowing) this.isBlocked = true;
    if (this.isBlocked) this.owedBytes += unsentBytes;
    else this.stream?.consume(unsentBytes);
    if (unsentHead !== undefined && end === undefined)
      this.silenceMillis = silenceMillisOf(unsentHead, this.limits);
    this.waitForProgress();
    if (unsentHead !== undefined && this.isTunnelOpen && !this.isOver) client.onBodyWanted();
  }

  /**
   * Whether the answer says that no application has seen the request, and another may be asked: then even one that is
   * not idempotent is not repeated, only sent for the first time (compare RFC 9113, 8.7).
   */
  private mayAskElsewhere(head: Http2ResponseHead): boolean {
    const { link, isReplayable, undeliveredBy } = this;
    const isWhole = this.requestEnd !== undefined || this.request.tunnel !== undefined;
    if (!isReplayable || !isWhole || link === undefined) return false;
    if (undeliveredBy.length + 1 >= attemptsMax) return false;
    return saysUndelivered(head) && this.choice.hasOther(link);
  }

  private showAnotherToken(): void {
    this.sent?.onAbandoned();
    this.leaveStream()?.reset(errorCode.cancel);
    if (this.requestEnd === undefined && this.request.tunnel === undefined) this.client.pauseBody();
    const lane = this.link?.ready();
    if (lane === undefined) this.start();
    else this.onSession(lane);
  }

  private leaveAlone(): void {
    if (this.link !== undefined) this.choice.avoid(this.link);
  }

  private askElsewhere(): void {
    this.leaveAlone();
    if (this.link !== undefined) this.undeliveredBy = [...this.undeliveredBy, this.link];
    this.leaveStream()?.reset(errorCode.cancel);
    this.tried = this.undeliveredBy;
    this.client.waitAtMost(Number.POSITIVE_INFINITY);
    this.seek("upstream-connect-failed", "no instance has given it to its application");
  }

  private seek(reason: AcquireRefusal | "request-token-unavailable", detail: string): void {
    const link = this.tried.length < attemptsMax ? this.pick() : undefined;
    if (link === undefined) return this.fail(reason, detail);
    if (link === "overloaded")
      return this.fail("overloaded", "every instance has as many requests of this caller as it may have");
    this.attempts?.tried.push(link);
    const lane = link.ready();
    this.link = link;
    if (lane !== undefined) return this.onSession(lane);
    this.tried = [...this.tried, link];
    this.asked = link;
    link.await(this);
  }

  /** One that no earlier attempt was sent to, if there is one. */
  private pick(): InstanceLink | "overloaded" | undefined {
    const { attempts, tried, choice } = this;
    const isFirst = attempts === undefined || attempts.tried.length === 0;
    const fresh = isFirst ? undefined : choice.pick([...attempts.tried, ...tried]);
    return fresh === undefined || fresh === "overloaded" ? choice.pick(tried) : fresh;
  }

  private sendBody(stream: Http2Stream, piece: Buffer): void {
    const { requestEnd } = this;
    const trailers = requestEnd?.trailers ?? [];
    const isEnd = requestEnd !== undefined && trailers.length === 0;
    const taken = stream.sendData(piece, 0, piece.length, isEnd);
    if (taken < piece.length) this.pending = piece.subarray(taken);
    else if (trailers.length > 0) this.sendTrailers(stream, trailers);
  }

  private sendTrailers(stream: Http2Stream, trailers: readonly Trailer[]): void {
    const { lane } = this;
    if (lane === undefined) return;
    const fields = lane.lines.trailers(trailers);
    if (lane.session.takes(fields)) stream.sendTrailers(fields);
    else this.fail("head-too-large-for-upstream", "the trailers are larger than the upstream takes");
  }

  /** What came on it is the client's now, or nobody's; one that is over is not credited by being reset. */
  private leaveStream(): Http2Stream | undefined {
    const { stream } = this;
    stream?.consume(stream.unconsumedBytes);
    this.owedBytes = 0;
    this.stream = undefined;
    this.lane = undefined;
    this.pending = undefined;
    return stream;
  }

  private waitForProgress(): void {
    if (this.isOver) return;
    const { limits } = this;
    if (this.isTunnelOpen) return this.client.waitAtMost(this.tunnelIdleMillis);
    const isWhole = this.requestEnd !== undefined || this.request.tunnel !== undefined;
    const isWaiting = isWhole && !this.hasHead;
    const silence = this.isBlocked ? limits.bodyIdleMillis : (this.silenceMillis ?? limits.bodyIdleMillis);
    this.client.waitAtMost(isWaiting ? limits.responseHeadMillis : silence);
  }

  /** A WebSocket of which one side has ended is all but over; through another tunnel the rest may take its time. */
  private get tunnelIdleMillis(): number {
    const { limits, request, hasResponseEnded, requestEnd } = this;
    const isHalfClosed = hasResponseEnded || requestEnd !== undefined;
    return isHalfClosed && request.tunnel === "websocket" ? limits.bodyIdleMillis : limits.tunnelIdleMillis;
  }

  /** Whether it is the client's body that is missing, and not the upstream's leave to send it. */
  private isClientLate(): boolean {
    if (this.requestEnd !== undefined || this.pending !== undefined) return false;
    return !this.request.expectsContinue || this.hasHeard || this.hasBody;
  }
}

const nothing = Buffer.alloc(0);
const untried: readonly InstanceLink[] = [];
