import {
  BodyCursor,
  chunksOf,
  type HeadEdits,
  type Http1Limits,
  type Http1ResponseHead,
  isWebSocketAccepted,
  scanResponseHead,
  serialiseRequest,
} from "../http1/index.ts";
import type { AcquireRefusal, ConnectionSource, Waiter, WantedConnection } from "./connection-source.ts";
import {
  endOf,
  type ForwardedRequest,
  type Forwarding,
  type ForwardingClient,
  type ForwardingFailure,
  type MessageEnd,
  plainEnd,
  type RequestHead,
} from "./forwarding.ts";
import { requestBytes } from "./head-text.ts";
import { type PeerTokens, withTokenLine } from "./request-tokens.ts";
import { silenceMillisOf } from "./tunnel.ts";
import type { ConnectionUser, UpstreamConnection } from "./upstream-connection.ts";

/** One request on its way to an upstream of HTTP/1.1 and its response on the way back, streaming in both directions. */
export class Http1Exchange implements Forwarding, Waiter, ConnectionUser {
  status = 0;
  private readonly client: ForwardingClient;
  private readonly request: RequestHead;
  private readonly edits: HeadEdits;
  private readonly connections: ConnectionSource;
  private readonly limits: Http1Limits;
  private readonly isChunked: boolean;
  /** Where the peer may want request tokens. */
  private readonly tokens: PeerTokens | undefined;
  /** The request as it goes upstream, with what was there of its body; kept while it might be sent again. */
  private head: Buffer;
  private connection: UpstreamConnection | undefined;
  private isRequestComplete: boolean;
  private hasBody: boolean;
  private responseBody: BodyCursor | undefined;
  private nominated: readonly string[] | undefined;
  private partialHead: Buffer | undefined;
  private interimResponses = 0;
  private mayReuseUpstream = false;
  private hasSent = false;
  private hasHeard = false;
  private hasRetried = false;
  private hasRefusedToken = false;
  /** Whether all that was sent of the request is still here. */
  private isReplayable = true;
  private isTunnelOpen = false;
  /** Whether the other end of an open tunnel sends no more. */
  private hasTunnelEnded = false;
  /** How long the body of the response may be silent. */
  private silenceMillis = 0;
  private isOver = false;

  /** Throws where the edits are none (serialise-head.ts). */
  constructor(
    { client, request, edits, limits, firstBody, end }: ForwardedRequest,
    connections: ConnectionSource,
    tokens?: PeerTokens,
  ) {
    this.client = client;
    this.request = request;
    this.edits = edits;
    this.connections = connections;
    this.tokens = tokens;
    this.limits = limits;
    this.isChunked = request.framing.kind === "chunked";
    this.isRequestComplete = end !== undefined;
    this.hasBody = firstBody.length > 0;
    const first = this.framed(firstBody, end);
    this.head =
      "section" in request ? serialiseRequest(request, edits, first) : requestBytes(request, edits, first);
  }

  get responseBytes(): number {
    return this.responseBody?.payloadBytes ?? 0;
  }

  start(): void {
    if (this.request.tunnel === "connect")
      return this.fail("tunnel-unsupported", "the upstream speaks HTTP/1.1, which carries no such tunnel");
    this.acquire(isRepeatable(this.request) ? "any" : "in-use");
  }

  onBody(body: Buffer, end: MessageEnd | undefined): void {
    const { connection } = this;
    if (connection === undefined || this.isRequestComplete) return;
    this.isReplayable = false;
    this.isRequestComplete = end !== undefined;
    this.hasBody ||= body.length > 0;
    const bytes = this.framed(body, end);
    if (bytes.length > 0 && !connection.write(bytes) && !this.isRequestComplete) this.client.pauseBody();
    if (this.isTunnelOpen && this.isRequestComplete) connection.end(() => this.endTunnel());
    this.waitForProgress();
  }

  clientDrained(): void {
    this.connection?.resume();
    this.waitForProgress();
  }

  abort(): void {
    this.isOver = true;
    this.connections.cancel(this);
    this.leaveConnection()?.destroy();
  }

  fail(failure: ForwardingFailure, detail: string): void {
    if (this.isOver) return;
    this.abort();
    const sent = this.hasSent ? "sent" : "unsent";
    this.client.onFailed(failure, detail, this.responseBody === undefined ? sent : "answering");
  }

  onDeadline(): void {
    if (this.connection?.isPaused === true) return this.fail("client-gone", "");
    if (this.isTunnelOpen) return this.fail("tunnel-idle", "");
    this.fail(this.isClientLate() ? "body-timeout" : "upstream-timeout", "");
  }

  onConnection(connection: UpstreamConnection): void {
    this.connection = connection;
    connection.lend(this);
    const tokens = this.tokens?.on(connection.socket);
    const token = tokens === undefined ? "" : tokens.mint(this.request, this.edits);
    if (tokens === undefined || token !== undefined) return this.sendHead(connection, token ?? "");
    void tokens.obtain(this.request, this.edits).then((obtained) => {
      if (this.connection !== connection) return;
      if (obtained.ok) this.sendHead(connection, obtained.value);
      else this.fail(obtained.reason, obtained.detail);
    });
  }

  private sendHead(connection: UpstreamConnection, token: string): void {
    this.hasSent = true;
    const isFlowing = connection.write(withTokenLine(this.head, token));
    if (connection.hasRefusedBytes && !this.hasRetried) return this.retry();
    this.waitForProgress();
    if (this.isRequestComplete || this.request.tunnel !== undefined) return;
    if (isFlowing) this.client.onBodyWanted();
    else this.client.pauseBody();
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
    const isAwaited = this.request.tunnel === undefined || this.isTunnelOpen;
    if (!this.isRequestComplete && isAwaited) this.client.onBodyWanted();
  }

  onEnd(): void {
    if (this.isTunnelOpen) return this.onTunnelEnd();
    if (this.responseBody?.framing.kind !== "until-close") return this.onBroken("closed by the peer");
    this.client.write(nothing, plainEnd);
    this.finish(true);
  }

  onBroken(detail: string): void {
    const connection = this.leaveConnection();
    connection?.destroy();
    const mayRepeat = isRepeatable(this.request) && !this.hasHeard;
    if (mayRepeat && connection?.isReused === true && !this.hasRetried) return this.retry();
    // Another instance may have it, as after a retry.
    if (mayRepeat) this.hasSent = false;
    this.fail("upstream-reset", detail);
  }

  /** As over HTTP/2: nothing of a request whose token is refused was passed on, so that it may be sent again, once. */
  private mayShowAnotherToken(head: Http1ResponseHead): boolean {
    const { connection, tokens } = this;
    if (tokens === undefined || connection === undefined) return false;
    if (!tokens.on(connection.socket).learn(head) || !this.isReplayable) return false;
    const isFirst = !this.hasRefusedToken;
    this.hasRefusedToken = true;
    if (isFirst && !this.isRequestComplete) this.client.pauseBody();
    return isFirst;
  }

  /** As if nothing had been sent: nothing was, or it makes no difference. */
  private retry(): void {
    this.leaveConnection()?.destroy();
    this.hasSent = false;
    this.hasRetried = true;
    this.acquire("fresh");
  }

  private acquire(wanted: WantedConnection): void {
    this.client.waitAtMost(Number.POSITIVE_INFINITY);
    const connection = this.connections.acquire(this, wanted);
    if (connection !== undefined) this.onConnection(connection);
  }

  /** A piece of the request's body in the framing that its head declares; of a length, nothing can follow the body. */
  private framed(body: Buffer, end: MessageEnd | undefined): Buffer {
    return this.isChunked ? chunksOf(body, end?.trailers) : body;
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
      if (head.status >= 200 && this.mayShowAnotherToken(head)) return this.retry();
      if (head.status >= 200) return this.beginResponse(head, window, end);
      if (head.status === 101 && this.request.tunnel !== undefined) return this.openTunnel(head, window, end);
      this.interimResponses += 1;
      // 101 would hand the connection over to a protocol that nobody here agreed to.
      if (head.status === 101 || this.interimResponses > this.limits.interimResponsesMax)
        return this.fail("upstream-malformed-response", `interim response ${head.status}`);
      this.client.writeInterim(head);
    }
  }

  private beginResponse(head: Http1ResponseHead, window: Buffer, end: number): void {
    const body = new BodyCursor(head.framing, Number.MAX_SAFE_INTEGER);
    const at = head.section.end;
    const bodyEnd = body.advance(window, at, end);
    if (bodyEnd < 0) return this.fail("upstream-malformed-response", body.refusal ?? "");
    this.mayReuseUpstream = head.keepAlive && this.isRequestComplete;
    this.status = head.status;
    this.responseBody = body;
    if (!body.isComplete) this.silenceMillis = silenceMillisOf(head, this.limits);
    this.nominated = head.section.nominated;
    this.head = nothing;
    const first = body.payloadOf(window.subarray(at, bodyEnd), at);
    this.afterBody(body, this.client.writeHead(head, first, endOf(body, this.nominated)), bodyEnd < end);
  }

  /** From here on the connection is the client's and the upstream's, and what goes through it nobody's business. */
  private openTunnel(head: Http1ResponseHead, window: Buffer, end: number): void {
    if (!isWebSocketAccepted(head.section, this.request.webSocketKey))
      return this.fail("upstream-malformed-response", "the upstream switches to what it was not asked for");
    const at = head.section.end;
    const body = new BodyCursor({ kind: "until-close" }, Number.MAX_SAFE_INTEGER);
    body.advance(window, at, end);
    if (this.connection?.becomeTunnel() !== true)
      return this.fail("upstream-pool-exhausted", "too many tunnels");
    this.isTunnelOpen = true;
    this.status = head.status;
    this.responseBody = body;
    this.head = nothing;
    this.afterBody(body, this.client.writeHead(head, window.subarray(at, end), undefined), false);
    if (!this.isOver) this.client.onBodyWanted();
  }

  private onTunnelEnd(): void {
    this.hasTunnelEnded = true;
    this.client.write(nothing, plainEnd);
    this.waitForProgress();
    this.endTunnel();
  }

  /** Ends it once neither side sends any more and all has been sent; each may go on after the other has ended. */
  private endTunnel(): void {
    const { connection } = this;
    if (this.isOver || !this.hasTunnelEnded || connection?.socket.writableFinished !== true) return;
    this.isOver = true;
    this.leaveConnection()?.destroy();
    this.client.onResponded();
  }

  private passBody(body: BodyCursor, window: Buffer, at: number, end: number): void {
    const bodyEnd = body.advance(window, at, end);
    if (bodyEnd < 0) return this.fail("upstream-malformed-response", body.refusal ?? "");
    const bytes = body.payloadOf(window.subarray(at, bodyEnd), at);
    this.afterBody(body, this.client.write(bytes, endOf(body, this.nominated)), bodyEnd < end);
  }

  private afterBody(body: BodyCursor, isFlowing: boolean, hasSurplus: boolean): void {
    if (body.isComplete) return this.finish(hasSurplus);
    if (!isFlowing) this.connection?.pause();
    this.waitForProgress();
  }

  /** Ends the exchange; bytes that nobody asked for make the connection useless. */
  private finish(hasSurplus: boolean): void {
    this.isOver = true;
    const connection = this.leaveConnection();
    if (this.mayReuseUpstream && !hasSurplus) connection?.release();
    else connection?.destroy();
    this.client.onResponded();
  }

  private leaveConnection(): UpstreamConnection | undefined {
    const { connection } = this;
    this.connection = undefined;
    return connection;
  }

  private waitForProgress(): void {
    this.client.waitAtMost(this.idleMillis);
  }

  private get idleMillis(): number {
    const { limits, request, isRequestComplete } = this;
    if (this.responseBody === undefined)
      return isRequestComplete || request.tunnel !== undefined
        ? limits.responseHeadMillis
        : limits.bodyIdleMillis;
    // A WebSocket of which one side has ended is all but over.
    if (this.isTunnelOpen)
      return this.hasTunnelEnded || isRequestComplete ? limits.bodyIdleMillis : limits.tunnelIdleMillis;
    return this.connection?.isPaused === true ? limits.bodyIdleMillis : this.silenceMillis;
  }

  /** Whether it is the client's body that is missing, and not the upstream's leave to send it. */
  private isClientLate(): boolean {
    if (this.isRequestComplete || this.request.tunnel !== undefined) return false;
    if (this.connection?.socket.writableNeedDrain === true) return false;
    return !this.request.expectsContinue || this.interimResponses > 0 || this.hasBody;
  }
}

const nothing = Buffer.alloc(0);

/** Whether a request may be sent again although nobody knows what became of it: idempotent, and nothing of it is gone. */
export function isRepeatable({ method, framing }: RequestHead): boolean {
  const hasNoBody = framing.kind === "none" || (framing.kind === "length" && framing.bytes === 0);
  return hasNoBody && idempotentMethods.has(method);
}

/** Methods that do no more when done twice (RFC 9110, 9.2.2), of those in common use. */
const idempotentMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);
