import { BodyCursor } from "./body-framing.ts";
import type { Http1Failure } from "./http1-failure.ts";
import type { Http1Limits } from "./http1-limits.ts";
import type { RequestHead, RequestRefusal } from "./scan-request-head.ts";
import { type ResponseHead, scanResponseHead } from "./scan-response-head.ts";
import {
  type HeadEdits,
  type ResponseChanges,
  serialiseRequest,
  serialiseResponse,
} from "./serialise-head.ts";
import { undeliveredName, undeliveredStatus, undeliveredValue } from "./undelivered.ts";
import type { AcquireRefusal, Upstream, Waiter } from "./upstream.ts";
import type { ConnectionUser, UpstreamConnection } from "./upstream-connection.ts";

/** A failure while a request was being forwarded. */
export type ExchangeFailure = Exclude<Http1Failure, RequestRefusal>;

/** The client's end of an exchange. */
export interface ExchangeClient {
  /** Whether the connection ends with this response. */
  readonly isClosing: boolean;
  /** Sends bytes that will not change any more; false asks to wait for `clientDrained`. */
  write(bytes: Uint8Array): boolean;
  pauseReading(): void;
  resumeReading(): void;
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

/** What one exchange is about. */
export interface ExchangeParts {
  readonly client: ExchangeClient;
  readonly request: RequestHead;
  readonly requestBody: BodyCursor;
  readonly upstream: Upstream;
  readonly edits: HeadEdits;
  readonly limits: Http1Limits;
}

/** One request on its way upstream and its response on the way back, streaming in both directions. */
export class Exchange implements Waiter, ConnectionUser {
  /** Status of the final response, 0 before there is one. */
  status = 0;
  private readonly client: ExchangeClient;
  private readonly request: RequestHead;
  private readonly requestBody: BodyCursor;
  private readonly upstream: Upstream;
  private readonly limits: Http1Limits;
  private readonly isRepeatable: boolean;
  /** Whether `head` is the whole request, so that another can be asked where the first has not passed it on. */
  private readonly isWhole: boolean;
  private hasSent = false;
  /** The request as it goes upstream, with what was there of its body; kept while it might be sent again. */
  private head: Buffer;
  private connection: UpstreamConnection | undefined;
  private responseBody: BodyCursor | undefined;
  private coding: ResponseChanges["coding"] = "as-is";
  private partialHead: Buffer | undefined;
  private interimResponses = 0;
  private mayReuseUpstream = false;
  private mayContinue = false;
  private hasHeard = false;
  private hasRetried = false;
  private isOver = false;

  /** `firstBody` has been taken from `requestBody` already. Throws where the edits are none (serialise-head.ts). */
  constructor(parts: ExchangeParts, firstBody: Uint8Array) {
    this.client = parts.client;
    this.request = parts.request;
    this.requestBody = parts.requestBody;
    this.upstream = parts.upstream;
    this.limits = parts.limits;
    this.isRepeatable = isIdempotent(parts.request.method) && hasNoBody(parts.request);
    this.isWhole = parts.requestBody.isComplete;
    this.head = serialiseRequest(parts.request, parts.edits, firstBody);
  }

  /** Body bytes of the response so far, without framing. */
  get responseBytes(): number {
    return this.responseBody?.payloadBytes ?? 0;
  }

  /** Finds a connection and sends the head. */
  start(): void {
    this.acquire(false);
  }

  /** Takes bytes of the request's body; answers with the end of what it took, or -1 when it has failed over them. */
  onRequestBytes(window: Buffer, at: number, end: number): number {
    const { connection, requestBody } = this;
    if (connection === undefined || requestBody.isComplete) return at;
    const bodyEnd = requestBody.advance(window, at, end);
    if (bodyEnd < 0) {
      this.fail(requestBody.refusal ?? "chunk-size-invalid", "");
      return -1;
    }
    if (bodyEnd > at && !connection.write(window.subarray(at, bodyEnd)) && !requestBody.isComplete)
      this.client.pauseReading();
    this.waitForProgress();
    return bodyEnd;
  }

  /** The client has taken what was written to it. */
  clientDrained(): void {
    this.connection?.resume();
    this.waitForProgress();
  }

  /** Ends the exchange because the client has gone; nobody is told. */
  abort(): void {
    this.isOver = true;
    this.upstream.cancel(this);
    this.leaveConnection()?.destroy();
  }

  /** Nothing has moved for as long as it may. */
  onDeadline(): void {
    this.fail(this.isClientLate() ? "body-timeout" : "upstream-timeout", "");
  }

  onConnection(connection: UpstreamConnection): void {
    this.connection = connection;
    this.hasSent = true;
    connection.lend(this);
    const isFlowing = connection.write(this.head);
    this.waitForProgress();
    if (this.requestBody.isComplete) return;
    if (isFlowing) this.client.onBodyWanted();
    else this.client.pauseReading();
  }

  onNoConnection(reason: AcquireRefusal, detail: string): void {
    this.fail(reason, detail);
  }

  onBytes(window: Buffer, at: number, end: number): void {
    this.hasHeard = true;
    if (this.responseBody !== undefined) this.passBody(this.responseBody, window, at, end);
    else if (this.partialHead === undefined) this.readHeads(window, at, end);
    else {
      const joined = Buffer.concat([this.partialHead, window.subarray(at, end)]);
      this.partialHead = undefined;
      this.readHeads(joined, 0, joined.length);
    }
  }

  onDrain(): void {
    this.waitForProgress();
    this.client.onBodyWanted();
  }

  onEnd(): void {
    if (this.responseBody?.framing.kind !== "until-close") return this.onBroken("closed by the peer");
    if (this.coding === "to-chunked") this.client.write(lastChunk);
    this.finish(false);
  }

  onBroken(detail: string): void {
    const connection = this.leaveConnection();
    connection?.destroy();
    const mayRetry = this.isRepeatable && connection?.isReused === true && !this.hasHeard && !this.hasRetried;
    if (!mayRetry || this.isOver) return this.fail("upstream-reset", detail);
    this.acquire(true);
  }

  private acquire(again: boolean): void {
    this.hasRetried = again;
    this.client.waitAtMost(Number.POSITIVE_INFINITY);
    const connection = this.upstream.acquire(this, again);
    if (connection !== undefined) this.onConnection(connection);
  }

  private readHeads(window: Buffer, start: number, end: number): void {
    const rules = { limits: this.limits, isHead: this.request.method === "HEAD" };
    let at = start;
    while (at < end) {
      const head = scanResponseHead(window, at, end, rules);
      if (head.kind === "need-more") {
        this.partialHead = Buffer.from(window.subarray(at, end));
        return;
      }
      if (head.kind === "refused") return this.fail("upstream-malformed-response", head.reason);
      at = head.section.end;
      if (head.status >= 200) return this.beginResponse(head, window, end);
      this.interimResponses += 1;
      // 101 would hand the connection over to a protocol that nobody here agreed to.
      if (head.status === 101 || this.interimResponses > this.limits.interimResponsesMax)
        return this.fail("upstream-malformed-response", `interim response ${head.status}`);
      if (this.request.minorVersion === 1)
        this.client.write(serialiseResponse(head, { close: false, coding: "as-is" }, nothing));
    }
  }

  private beginResponse(head: ResponseHead, window: Buffer, end: number): void {
    const isEarly = !this.requestBody.isComplete;
    this.coding = this.codingFor(head);
    const body = new BodyCursor(head.framing, Number.MAX_SAFE_INTEGER);
    if (body.chunks !== undefined) body.chunks.keepsSpans = this.coding === "from-chunked";
    const at = head.section.end;
    const bodyEnd = body.advance(window, at, end);
    if (bodyEnd < 0) return this.fail("upstream-malformed-response", body.refusal ?? "");
    if (this.mayAskElsewhere(head)) {
      const connection = this.leaveConnection();
      if (head.keepAlive && body.isComplete && bodyEnd === end) connection?.release();
      else connection?.destroy();
      return this.acquire(true);
    }

    const hasOpenEnd = this.request.minorVersion === 0;
    this.mayReuseUpstream = head.keepAlive && !isEarly;
    this.mayContinue = this.request.keepAlive && !isEarly && !hasOpenEnd && !this.client.isClosing;
    const changes = { close: !this.mayContinue, coding: this.coding };
    const isFlowing = this.client.write(
      serialiseResponse(head, changes, this.recoded(body, window.subarray(at, bodyEnd), at)),
    );
    this.status = head.status;
    this.responseBody = body;
    this.head = nothing;
    this.afterBody(body, isFlowing, bodyEnd < end);
  }

  /**
   * Whether the answer says that no application has seen the request, and another may be asked: then even one that is
   * not idempotent is not repeated, only sent for the first time (compare RFC 9113, 8.7).
   */
  private mayAskElsewhere({ status, section }: ResponseHead): boolean {
    if (status !== undeliveredStatus || !this.isWhole || this.hasRetried) return false;
    return section.valuesOf(undeliveredName)[0] === undeliveredValue && this.upstream.hasElsewhere();
  }

  /** Where the upstream frames by closing, chunks make a truncation visible; HTTP/1.0 does not know chunks. */
  private codingFor(head: ResponseHead): ResponseChanges["coding"] {
    if (this.request.minorVersion === 0) return head.framing.kind === "chunked" ? "from-chunked" : "as-is";
    return head.framing.kind === "until-close" ? "to-chunked" : "as-is";
  }

  private passBody(body: BodyCursor, window: Buffer, at: number, end: number): void {
    const bodyEnd = body.advance(window, at, end);
    if (bodyEnd < 0) return this.fail("upstream-malformed-response", body.refusal ?? "");
    const piece = window.subarray(at, bodyEnd);
    const bytes = this.coding === "as-is" ? Buffer.from(piece) : this.recoded(body, piece, at);
    const isFlowing = bytes.length === 0 || this.client.write(bytes);
    this.afterBody(body, isFlowing, bodyEnd < end);
  }

  private afterBody(body: BodyCursor, isFlowing: boolean, hasSurplus: boolean): void {
    if (body.isComplete) return this.finish(hasSurplus);
    if (!isFlowing) this.connection?.pause();
    this.waitForProgress();
  }

  /** A piece of the response's body in the framing the client gets; the very piece where that is the same. */
  private recoded(body: BodyCursor, piece: Buffer, at: number): Buffer {
    if (this.coding === "as-is" || piece.length === 0) return piece;
    if (this.coding === "to-chunked")
      return Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`, "latin1"), piece, lineEnd]);
    const spans = body.chunks?.spans ?? [];
    const data: Buffer[] = [];
    for (let index = 0; index < spans.length; index += 2)
      data.push(piece.subarray((spans[index] ?? 0) - at, (spans[index + 1] ?? 0) - at));
    return Buffer.concat(data);
  }

  private finish(hasSurplus: boolean): void {
    this.isOver = true;
    const connection = this.leaveConnection();
    if (this.mayReuseUpstream && !hasSurplus) connection?.release();
    else connection?.destroy();
    this.client.onResponded(this.mayContinue);
  }

  private fail(failure: ExchangeFailure, detail: string): void {
    if (this.isOver) return;
    this.abort();
    const sent = this.hasSent ? "sent" : "unsent";
    this.client.onFailed(failure, detail, this.responseBody === undefined ? sent : "answering");
  }

  private leaveConnection(): UpstreamConnection | undefined {
    const { connection } = this;
    this.connection = undefined;
    return connection;
  }

  private waitForProgress(): void {
    const isWaiting = this.requestBody.isComplete && this.responseBody === undefined;
    this.client.waitAtMost(isWaiting ? this.limits.responseHeadMillis : this.limits.bodyIdleMillis);
  }

  /** Whether it is the client's body that is missing, and not the upstream's leave to send it. */
  private isClientLate(): boolean {
    if (this.requestBody.isComplete || this.connection?.socket.writableNeedDrain === true) return false;
    return !this.request.expectsContinue || this.interimResponses > 0 || this.requestBody.payloadBytes > 0;
  }
}

const nothing = Buffer.alloc(0);
const lineEnd = Buffer.from("\r\n");
const lastChunk = Buffer.from("0\r\n\r\n");

/** Methods that do no more when done twice (RFC 9110, 9.2.2), of those in common use. */
function isIdempotent(method: string): boolean {
  return (
    method === "GET" || method === "HEAD" || method === "OPTIONS" || method === "PUT" || method === "DELETE"
  );
}

function hasNoBody(request: RequestHead): boolean {
  return (
    request.framing.kind === "none" || (request.framing.kind === "length" && request.framing.bytes === 0)
  );
}
