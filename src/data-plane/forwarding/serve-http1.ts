import type { Socket } from "node:net";
import type { Deadline } from "../coarse-timer.ts";
import {
  BodyCursor,
  defaultHttp1Limits,
  type Http1Limits,
  type Http1RequestHead,
  type RefusedHead,
  type RequestRefusal,
} from "../http1/index.ts";
import { askForVerdict, beginAt } from "./ask-for-verdict.ts";
import { breakConnection } from "./break-connection.ts";
import {
  endOf,
  type Forwarding,
  type ForwardingClient,
  type ForwardingFailure,
  type ForwardingProgress,
  type MessageEnd,
  plainEnd,
  type ResponseHead,
} from "./forwarding.ts";
import { HeldBytes } from "./held-bytes.ts";
import { Http1Patience } from "./http1-patience.ts";
import { continueBytes, Http1Response, interimBytes } from "./http1-response.ts";
import { type Answer, problemAnswer, serialiseAnswer } from "./problem-answer.ts";
import { type RequestFailure, statusOfFailure } from "./request-failure.ts";
import { beginsHttp2 } from "./serve-http2.ts";
import type { Http1Connection, Http1ServeOptions } from "./serve-options.ts";
import { openingBytes, opensTunnel, refusedUpgrade, scanHead, unopenedHead } from "./tunnel.ts";
import type { Review, Verdict } from "./verdict.ts";

/** Serves HTTP/1.1 (RFC 9112) on one connection from a client whose identity, if it has one, is already checked. */
export function serveHttp1(socket: Socket, options: Http1ServeOptions): Http1Connection {
  return new ServedConnection(socket, options);
}

type Phase = "idle" | "head" | "deciding" | "exchanging" | "lingering" | "closed";

class ServedConnection implements Http1Connection, ForwardingClient, Deadline {
  deadlineMillis: number;
  private isClosing = false;
  private isRetiring = false;
  private readonly socket: Socket;
  private readonly options: Http1ServeOptions;
  private readonly limits: Http1Limits;
  private phase: Phase = "idle";
  private readonly held = new HeldBytes();
  private request: Http1RequestHead | undefined;
  private requestBody: BodyCursor | undefined;
  private exchange: Forwarding | undefined;
  private wantsBody = false;
  private readonly response = new Http1Response();
  /** Whether the connection outlives the response at hand. */
  private mayContinue = false;
  private startedMillis = 0;
  private lingeredBytes = 0;
  private isPumping = false;
  private hasClientEnded = false;
  /** Answered is one whose far end sends no more. */
  private tunnel: "none" | "open" | "answered" = "none";
  private readonly patience: Http1Patience;
  private hasServed = false;
  private readonly listeners = {
    data: (chunk: Buffer): void => this.onData(chunk),
    drain: (): void => this.onDrain(),
    end: (): void => this.onEnd(),
    // The close event that follows does all that is to be done.
    error: (): void => {},
    close: (hasFailed: boolean): void => {
      // Both sides of a tunnel have ended, and what the client sent last may still be on its way.
      if (hasFailed || !this.hasClientEnded || this.tunnel !== "answered") this.onClose();
    },
  };

  constructor(socket: Socket, options: Http1ServeOptions) {
    this.socket = socket;
    this.options = options;
    this.limits = options.limits ?? defaultHttp1Limits;
    this.patience = new Http1Patience(options.timer);
    this.deadlineMillis = options.timer.in(this.limits.headMillis);
    options.timer.add(this);
    socket.setNoDelay(true);
    // A client may end its side after its request and still wants the answer.
    socket.allowHalfOpen = true;
    for (const [event, listener] of Object.entries(this.listeners)) socket.on(event, listener);
  }

  get isIdle(): boolean {
    return this.phase === "idle" && this.held.window === undefined;
  }

  close(): void {
    this.isClosing = true;
    if (this.request?.tunnel !== undefined) {
      this.patience.endTunnelWithin(this.limits.tunnelDrainMillis);
      this.setDeadline();
    }
    if (this.phase === "idle" || this.phase === "head") this.endLingering();
  }

  retire(): void {
    this.isRetiring = true;
  }

  review(isAllowed: Review): void {
    const { phase, request, exchange } = this;
    if (phase !== "exchanging" || request === undefined || isAllowed(request)) return;
    this.guard(() => exchange?.fail("no-longer-allowed", ""));
  }

  destroy(): void {
    this.socket.destroy();
    this.onClose();
  }

  onDeadline(): void {
    if (this.mayAskClient) {
      this.patience.asked();
      this.socket.write(continueBytes);
      this.setDeadline();
      if (!this.patience.isOver) return;
    }
    switch (this.phase) {
      case "idle":
        return this.endLingering();
      case "head":
        return this.refuseHead({ kind: "refused", reason: "head-timeout", status: 408 });
      case "deciding":
        return this.fail("decision-timeout", "");
      case "exchanging":
        if (this.patience.isTunnelOver) return this.exchange?.fail("tunnel-drained", "");
        return this.exchange?.onDeadline();
      case "lingering":
        return this.destroy();
      case "closed":
        return undefined;
    }
  }

  writeInterim(head: ResponseHead): void {
    if (this.request?.minorVersion === 1) this.socket.write(interimBytes(head));
  }

  writeHead(head: ResponseHead, body: Buffer, end: MessageEnd | undefined): boolean {
    const { request, requestBody, response } = this;
    if (request === undefined) return true;
    if (request.tunnel !== undefined) {
      if (opensTunnel(request, head)) return this.openTunnel(request, head, body);
      head = unopenedHead(head);
    }
    response.frame(head, request, body.length === 0 && end?.trailers.length === 0);
    this.mayContinue = this.mayGoOn(request) && requestBody?.isComplete === true && !response.endsByClosing;
    return this.socket.write(response.head(head, !this.mayContinue, body, end));
  }

  /** What a client has sent behind an upgrade that came to nothing may be no request, so none is read from it. */
  private mayGoOn({ keepAlive, wantsUpgrade, tunnel }: Http1RequestHead): boolean {
    // What a client has sent already is still answered before it is told that this connection ends.
    const isLast = this.isClosing || (this.isRetiring && this.held.window === undefined);
    return keepAlive && !wantsUpgrade && tunnel === undefined && !isLast;
  }

  private openTunnel(request: Http1RequestHead, head: ResponseHead, first: Buffer): boolean {
    this.tunnel = "open";
    this.mayContinue = false;
    this.requestBody = new BodyCursor({ kind: "until-close" }, this.limits.requestBodyBytesMax);
    return this.socket.write(openingBytes(head, request, first));
  }

  write(body: Buffer, end: MessageEnd | undefined): boolean {
    const isTunnelOpen = this.tunnel !== "none";
    const bytes = isTunnelOpen ? body : this.response.body(body, end);
    // What is still the upstream's may be overwritten before it has left.
    const isFlowing = bytes.length === 0 || this.socket.write(bytes === body ? Buffer.from(bytes) : bytes);
    if (isTunnelOpen && end !== undefined) {
      this.tunnel = "answered";
      this.socket.end();
    }
    return isFlowing;
  }

  pauseBody(): void {
    this.wantsBody = false;
    this.socket.pause();
  }

  waitAtMost(millis: number): void {
    this.patience.waitAtMost(millis);
    this.setDeadline();
  }

  private get mayAskClient(): boolean {
    if (!this.hasClientEnded || !this.patience.mayAsk || this.request?.minorVersion !== 1) return false;
    return this.phase === "deciding" || (this.phase === "exchanging" && this.exchange?.status === 0);
  }

  private setDeadline(): void {
    this.deadlineMillis = this.patience.deadline(this.mayAskClient);
  }

  onBodyWanted(): void {
    this.wantsBody = true;
    const { window, at } = this.held;
    if (window !== undefined && this.requestBody?.isComplete === false) {
      this.held.clear();
      this.takeBody(window, at);
    }
    if (this.tunnel !== "none") this.passTunnelEnd();
    if (this.isCutShort) return this.destroy();
    // What is left over belongs to the next request, which waits.
    if (this.held.window === undefined && this.wantsBody) this.socket.resume();
  }

  onResponded(): void {
    this.report(this.exchange?.status ?? 0, this.exchange?.responseBytes ?? 0);
    this.next(this.mayContinue && !this.isClosing);
  }

  onFailed(failure: ForwardingFailure, detail: string, progress: ForwardingProgress, status?: number): void {
    if (progress !== "answering") return this.fail(failure, detail, status);
    this.report(this.exchange?.status ?? 0, this.exchange?.responseBytes ?? 0, failure);
    breakConnection(this.socket);
    this.phase = "closed";
    this.onClose();
  }

  private onData(chunk: Buffer): void {
    switch (this.phase) {
      case "idle":
      case "head":
        this.held.add(chunk, 0);
        return this.pump();
      case "deciding":
        this.held.add(chunk, 0);
        this.socket.pause();
        return undefined;
      case "exchanging":
        return this.onBodyData(chunk);
      case "lingering":
        this.lingeredBytes += chunk.length;
        if (this.lingeredBytes > this.limits.lingerBytesMax) this.destroy();
        return undefined;
      case "closed":
        return undefined;
    }
  }

  private onBodyData(chunk: Buffer): void {
    const takes = this.wantsBody && this.held.window === undefined && this.requestBody?.isComplete === false;
    if (takes) return this.takeBody(chunk, 0);
    this.held.add(chunk, 0);
    this.socket.pause();
  }

  /** Gives the exchange what a window holds of the body from `at` on; what follows is held. */
  private takeBody(window: Buffer, at: number): void {
    const { requestBody, exchange } = this;
    if (requestBody === undefined || exchange === undefined) return;
    const bodyEnd = requestBody.advance(window, at, window.length);
    if (bodyEnd < 0) return exchange.fail(requestBody.refusal ?? "chunk-size-invalid", "");
    if (bodyEnd < window.length) {
      this.held.add(window, bodyEnd);
      this.socket.pause();
    }
    const body = requestBody.payloadOf(window.subarray(at, bodyEnd), at);
    const end = endOf(requestBody, this.request?.section.nominated);
    if (body.length > 0 || end !== undefined) exchange.onBody(body, end);
  }

  /** Reads heads while there are any; requests that came together are answered in turn, not in depth. */
  private pump(): void {
    if (this.isPumping) return;
    this.isPumping = true;
    while (this.readHead());
    this.isPumping = false;
  }

  private readHead(): boolean {
    if (this.phase !== "idle" && this.phase !== "head") return false;
    // A client that does not take its answers gets no more requests read.
    if (this.socket.writableNeedDrain) {
      this.socket.pause();
      return false;
    }
    const { window } = this.held;
    const head = window && scanHead(window, this.held.at, this.limits, this.options);
    if (head === undefined || head.kind === "need-more") {
      if (this.hasClientEnded) this.endLingering();
      else this.socket.resume();
      if (head !== undefined && this.phase === "idle") {
        this.phase = "head";
        this.waitAtMost(this.limits.headMillis);
      }
      return false;
    }
    if (head.kind === "refused") {
      if (this.isHandedOver()) return false;
      this.refuseHead(head);
    } else this.begin(head);
    return true;
  }

  /** Whether a connection begins as one of HTTP/2; then it is another's. */
  private isHandedOver(): boolean {
    const { options } = this;
    const { window } = this.held;
    if (options.onHttp2 === undefined || this.hasServed || !beginsHttp2(window)) return false;
    this.phase = "closed";
    options.timer.remove(this);
    for (const [event, listener] of Object.entries(this.listeners)) this.socket.off(event, listener);
    options.onHttp2(window);
    return true;
  }

  private refuseHead(refusal: RefusedHead<RequestRefusal | "head-timeout">): void {
    this.startedMillis = this.options.timer.clock.monotonicMillis();
    const { status, reason } = refusal;
    const answer = problemAnswer({ status, reason, close: true }, this.options.audience);
    this.socket.write(serialiseAnswer(answer, false, true));
    this.report(status, answer.body.length, reason);
    this.endLingering();
  }

  private begin(head: Http1RequestHead): void {
    this.hasServed = true;
    this.held.consume(head.section.end);
    this.request = head;
    this.requestBody = new BodyCursor(head.framing, this.limits.requestBodyBytesMax);
    this.startedMillis = this.options.timer.clock.monotonicMillis();
    this.phase = "deciding";
    const refusal = refusedUpgrade(head, this.options);
    if (refusal !== undefined) return this.respond(refusal, "upgrade-unsupported");
    if (head.framing.kind === "length" && head.framing.bytes > this.limits.requestBodyBytesMax)
      return this.fail("body-too-large", "");
    this.waitAtMost(this.limits.decisionMillis);
    askForVerdict(this.options.decide, head, {
      settle: (verdict) => {
        if (this.request === head && this.phase === "deciding") this.apply(head, verdict);
      },
      guard: (run) => this.guard(run),
      onFault: this.options.onFault,
    });
  }

  private guard(run: () => void): void {
    try {
      run();
    } catch (fault) {
      this.options.onFault?.(fault);
      this.destroy();
    }
  }

  /** No verdict is a refusal: the fault is ours, and says nothing about itself. */
  private apply(head: Http1RequestHead, verdict: Verdict | undefined): void {
    if (verdict === undefined) return this.fail("decision-failed", "");
    if (verdict.kind === "answer") return this.respond(verdict);
    const { requestBody, limits } = this;
    if (requestBody === undefined) return;
    const { upstream, edits } = verdict;
    const firstBody = this.held.takeBody(requestBody);
    if (firstBody === undefined) return this.fail(requestBody.refusal ?? "chunk-size-invalid", "");
    if (this.isCutShort) return this.destroy();
    const end = head.tunnel === undefined ? endOf(requestBody, head.section.nominated) : undefined;
    const forwarded = { client: this, request: head, edits, limits, firstBody, end };
    const exchange = beginAt(upstream, forwarded, this.options.onFault);
    if (exchange === undefined) return this.fail("decision-failed", "");
    this.exchange = exchange;
    this.wantsBody = false;
    this.phase = "exchanging";
    exchange.start();
  }

  private fail(failure: ForwardingFailure, detail: string, status = statusOfFailure(failure)): void {
    const problem = { status, reason: failure, detail };
    this.respond(problemAnswer(problem, this.options.audience), failure);
  }

  private respond(answer: Answer, failure?: RequestFailure): void {
    const { request, requestBody } = this;
    if (request === undefined || requestBody === undefined) return this.destroy();
    if (requestBody.refusal === undefined) this.held.takeBody(requestBody);
    const mayContinue = this.mayGoOn(request) && requestBody.isComplete && answer.close !== true;
    const isHead = request.method === "HEAD";
    this.socket.write(serialiseAnswer(answer, isHead, !mayContinue));
    this.report(answer.status, isHead ? 0 : answer.body.length, failure);
    this.next(mayContinue);
  }

  private report(status: number, responseBytes: number, error?: RequestFailure): void {
    const { onComplete, timer } = this.options;
    if (onComplete === undefined) return;
    const durationMicros = Math.round((timer.clock.monotonicMillis() - this.startedMillis) * 1000);
    const requestBytes = this.requestBody?.payloadBytes ?? 0;
    const event = { request: this.request, status, requestBytes, responseBytes, durationMicros };
    onComplete(error === undefined ? event : { ...event, error });
  }

  private next(mayContinue: boolean): void {
    // For a client that has said that it sends no more, and whose request is whole, there is nothing to read on for.
    const wantsNoMore = this.request?.keepAlive === false && this.requestBody?.isComplete === true;
    this.exchange = undefined;
    this.request = undefined;
    this.requestBody = undefined;
    const hasLeft = this.held.window !== undefined || this.socket.writableLength > 0;
    if (!mayContinue) return wantsNoMore && !hasLeft ? this.destroy() : this.endLingering();
    this.phase = "idle";
    this.waitAtMost(this.limits.keepAliveIdleMillis);
    this.pump();
  }

  /** Ends our side and reads on for a while: to close over unread bytes would reset the answer away (RFC 9112, 9.6). */
  private endLingering(): void {
    this.phase = "lingering";
    this.held.clear();
    this.waitAtMost(this.limits.bodyIdleMillis);
    this.socket.resume();
    this.socket.end(() => this.waitAtMost(this.limits.lingerMillis));
  }

  private onDrain(): void {
    if (this.exchange === undefined) this.pump();
    else this.exchange.clientDrained();
  }

  private onEnd(): void {
    this.hasClientEnded = true;
    if (this.phase === "idle" && this.socket.writableLength === 0) return this.destroy();
    if (this.phase === "idle" || this.phase === "head") return this.endLingering();
    if (this.tunnel !== "none") return this.passTunnelEnd();
    if (this.isCutShort && this.phase !== "lingering") this.destroy();
    else if (this.mayAskClient) this.setDeadline();
  }

  /** A client that has ended its side of a tunnel ends it at the far end too, once that has taken all it sent. */
  private passTunnelEnd(): void {
    const { requestBody, exchange } = this;
    if (!this.hasClientEnded || !this.wantsBody || this.held.window !== undefined) return;
    if (requestBody === undefined || requestBody.isComplete || exchange === undefined) return;
    requestBody.isComplete = true;
    exchange.onBody(nothing, plainEnd);
  }

  /** Whether the client has ended its side within a body of which nothing is left to take. */
  private get isCutShort(): boolean {
    return this.hasClientEnded && this.held.window === undefined && this.requestBody?.isComplete === false;
  }

  private onClose(): void {
    const isBusy = this.phase === "deciding" || this.phase === "exchanging";
    this.phase = "closed";
    this.options.timer.remove(this);
    this.exchange?.abort();
    if (isBusy) this.report(this.exchange?.status ?? 0, this.exchange?.responseBytes ?? 0, "client-gone");
    this.exchange = undefined;
    this.request = undefined;
    this.held.clear();
  }
}

const nothing = Buffer.alloc(0);
