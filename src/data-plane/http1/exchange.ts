import { BodyCursor } from "./body-framing.ts";
import type { ExchangeClient, ExchangeFailure, ForwardedRequest, RunningExchange } from "./forwarding.ts";
import type { Http1Limits } from "./http1-limits.ts";
import type { RequestHead } from "./scan-request-head.ts";
import { type ResponseHead, scanResponseHead } from "./scan-response-head.ts";
import { type ResponseChanges, serialiseRequest } from "./serialise-head.ts";
import type { AcquireRefusal, Http1Upstream, Waiter } from "./upstream.ts";
import type { ConnectionUser, UpstreamConnection } from "./upstream-connection.ts";

/** What one exchange is about. */
export interface ExchangeParts extends ForwardedRequest<ExchangeClient> {
  readonly upstream: Http1Upstream;
}

/** One request on its way upstream and its response on the way back, streaming in both directions. */
export class Exchange implements RunningExchange, Waiter, ConnectionUser {
  status = 0;
  private readonly client: ExchangeClient;
  private readonly request: RequestHead;
  private readonly requestBody: BodyCursor;
  private readonly upstream: Http1Upstream;
  private readonly limits: Http1Limits;
  private readonly isRepeatable: boolean;
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
    this.isRepeatable = isRepeatable(parts.request);
    this.head = serialiseRequest(parts.request, parts.edits, firstBody);
  }

  get responseBytes(): number {
    return this.responseBody?.payloadBytes ?? 0;
  }

  start(): void {
    this.acquire(false);
  }

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

  clientDrained(): void {
    this.connection?.resume();
    this.waitForProgress();
  }

  abort(): void {
    this.isOver = true;
    this.upstream.cancel(this);
    this.leaveConnection()?.destroy();
  }

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
    if (this.coding === "to-chunked") this.client.write(lastChunk, true);
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
      if (this.request.minorVersion === 1) this.client.writeInterim(head);
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

    const hasOpenEnd = this.request.minorVersion === 0;
    this.mayReuseUpstream = head.keepAlive && !isEarly;
    this.mayContinue = this.request.keepAlive && !isEarly && !hasOpenEnd && !this.client.isClosing;
    const changes = { close: !this.mayContinue, coding: this.coding };
    const firstBytes = this.recoded(body, window.subarray(at, bodyEnd), at);
    const isFlowing = this.client.writeHead(head, changes, firstBytes, body.isComplete);
    this.status = head.status;
    this.responseBody = body;
    this.head = nothing;
    this.afterBody(body, isFlowing, bodyEnd < end);
  }

  /** Where the upstream frames by closing, chunks make a truncation visible; not every client knows chunks. */
  private codingFor(head: ResponseHead): ResponseChanges["coding"] {
    if (this.request.minorVersion === 0 || this.client.framesBodies)
      return head.framing.kind === "chunked" ? "from-chunked" : "as-is";
    return head.framing.kind === "until-close" ? "to-chunked" : "as-is";
  }

  private passBody(body: BodyCursor, window: Buffer, at: number, end: number): void {
    const bodyEnd = body.advance(window, at, end);
    if (bodyEnd < 0) return this.fail("upstream-malformed-response", body.refusal ?? "");
    const bytes = this.recoded(body, window.subarray(at, bodyEnd), at);
    const hasNews = bytes.length > 0 || body.isComplete;
    const isFlowing = !hasNews || this.client.write(bytes, body.isComplete);
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
    return body.payloadOf(piece, at);
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

/** Whether a request may be sent again although nobody knows what became of it: idempotent, and nothing of it is gone. */
export function isRepeatable(request: RequestHead): boolean {
  return isIdempotent(request.method) && hasNoBody(request);
}

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
