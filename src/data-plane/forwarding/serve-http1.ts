import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Deadline } from "../coarse-timer.ts";
import {
  BodyCursor,
  defaultHttp1Limits,
  type Http1Limits,
  type Http1RequestHead,
  type RefusedHead,
  type RequestRefusal,
  scanRequestHead,
} from "../http1/index.ts";
import { askForVerdict, beginAt } from "./ask-for-verdict.ts";
import {
  endOf,
  type Forwarding,
  type ForwardingClient,
  type ForwardingFailure,
  type ForwardingProgress,
  type MessageEnd,
  type RequestHead,
  type ResponseHead,
} from "./forwarding.ts";
import { continueBytes, Http1Response, interimBytes } from "./http1-response.ts";
import { type Answer, problemAnswer, serialiseAnswer } from "./problem-answer.ts";
import { type RequestFailure, statusOfFailure } from "./request-failure.ts";
import { beginsHttp2 } from "./serve-http2.ts";
import type { ServeOptions } from "./serve-options.ts";
import type { CompletedRequest, Verdict } from "./verdict.ts";

/** How a connection of HTTP/1.1 is served. */
export interface Http1ServeOptions extends ServeOptions {
  /** Called once per request head; nothing of the request goes upstream before it answers. A throw refuses. */
  readonly decide: (request: RequestHead) => Verdict | Promise<Verdict>;
  readonly onComplete?: (event: CompletedRequest) => void;
  /** Takes a connection over whose client speaks HTTP/2 from its first byte on (RFC 9113, 3.3), with what has been read. */
  readonly onHttp2?: (first: Buffer) => void;
}

/** A client's connection that is being served. */
export interface Http1Connection {
  /** Whether no request is in progress. */
  readonly isIdle: boolean;
  /** Finishes the request in progress, then closes. */
  close(): void;
  /** Breaks the connection at once, and what was going on upstream for it. */
  destroy(): void;
}

/** Serves HTTP/1.1 (RFC 9112) on one connection from a client whose identity, if it has one, is already checked. */
export function serveHttp1(socket: Socket, options: Http1ServeOptions): Http1Connection {
  return new ServedConnection(socket, options);
}

/** How long a client that has ended its side is taken for one that waits for its answer. */
const askClientMillis = 1_000;
const asksMax = 2;

type Phase = "idle" | "head" | "deciding" | "exchanging" | "lingering" | "closed";

class ServedConnection implements Http1Connection, ForwardingClient, Deadline {
  deadlineMillis: number;
  private isClosing = false;
  private readonly socket: Socket;
  private readonly options: Http1ServeOptions;
  private readonly limits: Http1Limits;
  private phase: Phase = "idle";
  /** Bytes from the client that nobody has taken yet, from `at` on. */
  private window: Buffer | undefined;
  private at = 0;
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
  private asksLeft = asksMax;
  /** The deadline that counts besides that of asking a client that has ended its side. */
  private dueMillis = 0;
  private hasServed = false;
  private readonly listeners = {
    data: (chunk: Buffer): void => this.onData(chunk),
    drain: (): void => this.onDrain(),
    end: (): void => this.onEnd(),
    // The close event that follows does all that is to be done.
    error: (): void => {},
    close: (): void => this.onClose(),
  };

  constructor(socket: Socket, options: Http1ServeOptions) {
    this.socket = socket;
    this.options = options;
    this.limits = options.limits ?? defaultHttp1Limits;
    this.deadlineMillis = options.timer.in(this.limits.headMillis);
    options.timer.add(this);
    socket.setNoDelay(true);
    // A client may end its side after its request and still wants the answer.
    socket.allowHalfOpen = true;
    const { data, drain, end, error, close } = this.listeners;
    socket.on("data", data).on("drain", drain).on("end", end).on("error", error).on("close", close);
  }

  get isIdle(): boolean {
    return this.phase === "idle" && this.window === undefined;
  }

  close(): void {
    this.isClosing = true;
    if (this.phase === "idle" || this.phase === "head") this.endLingering();
  }

  destroy(): void {
    this.socket.destroy();
    this.onClose();
  }

  onDeadline(): void {
    if (this.mayAskClient) {
      this.asksLeft -= 1;
      this.send(continueBytes);
      this.setDeadline();
      if (this.dueMillis > this.options.timer.nowMillis) return;
    }
    switch (this.phase) {
      case "idle":
        return this.endLingering();
      case "head":
        return this.refuseHead({ kind: "refused", reason: "head-timeout", status: 408 });
      case "deciding":
        return this.fail("decision-timeout", "");
      case "exchanging":
        return this.exchange?.onDeadline();
      case "lingering":
        return this.destroy();
      case "closed":
        return undefined;
    }
  }

  writeInterim(head: ResponseHead): void {
    if (this.request?.minorVersion === 1) this.send(interimBytes(head));
  }

  writeHead(head: ResponseHead, body: Buffer, end: MessageEnd | undefined): boolean {
    const { request, requestBody, response } = this;
    if (request === undefined) return true;
    response.frame(head, request, body.length === 0 && end?.trailers.length === 0);
    this.mayContinue =
      request.keepAlive && requestBody?.isComplete === true && !response.endsByClosing && !this.isClosing;
    return this.send(response.head(head, !this.mayContinue, body, end));
  }

  write(body: Buffer, end: MessageEnd | undefined): boolean {
    const bytes = this.response.body(body, end);
    // What is still the upstream's may be overwritten before it has left.
    return bytes.length === 0 || this.send(bytes === body ? Buffer.from(bytes) : bytes);
  }

  pauseBody(): void {
    this.wantsBody = false;
    this.socket.pause();
  }

  private send(bytes: Uint8Array): boolean {
    return this.socket.write(bytes);
  }

  waitAtMost(millis: number): void {
    this.dueMillis = this.options.timer.in(millis);
    this.setDeadline();
  }

  /**
   * Whether to find out if a client that has ended its side is still there. One that waits takes a 100 (Continue) for
   * nothing, as it must (RFC 9110, 15.2); from one that has gone a reset comes back, which the second one meets.
   */
  private get mayAskClient(): boolean {
    if (!this.hasClientEnded || this.asksLeft === 0 || this.request?.minorVersion !== 1) return false;
    return this.phase === "deciding" || (this.phase === "exchanging" && this.exchange?.status === 0);
  }

  private setDeadline(): void {
    const askMillis = this.mayAskClient ? this.options.timer.in(askClientMillis) : this.dueMillis;
    this.deadlineMillis = Math.min(this.dueMillis, askMillis);
  }

  onBodyWanted(): void {
    this.wantsBody = true;
    const { window } = this;
    if (window !== undefined && this.requestBody?.isComplete === false) {
      const { at } = this;
      this.window = undefined;
      this.at = 0;
      this.takeBody(window, at);
    }
    if (this.isCutShort) return this.destroy();
    // What is left over belongs to the next request, which waits.
    if (this.window === undefined && this.wantsBody) this.socket.resume();
  }

  onResponded(): void {
    const { exchange } = this;
    this.report(exchange?.status ?? 0, exchange?.responseBytes ?? 0);
    this.next(this.mayContinue && !this.isClosing);
  }

  onFailed(failure: ForwardingFailure, detail: string, progress: ForwardingProgress): void {
    if (progress !== "answering") return this.fail(failure, detail);
    this.report(this.exchange?.status ?? 0, this.exchange?.responseBytes ?? 0, failure);
    this.truncate();
  }

  private onData(chunk: Buffer): void {
    switch (this.phase) {
      case "idle":
      case "head":
        this.hold(chunk, 0);
        return this.pump();
      case "deciding":
        this.hold(chunk, 0);
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
    const takes = this.wantsBody && this.window === undefined && this.requestBody?.isComplete === false;
    if (takes) return this.takeBody(chunk, 0);
    this.hold(chunk, 0);
    this.socket.pause();
  }

  /** Gives the exchange what a window holds of the body from `at` on; what follows is held. */
  private takeBody(window: Buffer, at: number): void {
    const { requestBody, exchange } = this;
    if (requestBody === undefined || exchange === undefined) return;
    const bodyEnd = requestBody.advance(window, at, window.length);
    if (bodyEnd < 0) return exchange.fail(requestBody.refusal ?? "chunk-size-invalid", "");
    if (bodyEnd < window.length) {
      this.hold(window, bodyEnd);
      this.socket.pause();
    }
    const body = requestBody.payloadOf(window.subarray(at, bodyEnd), at);
    const end = endOf(requestBody, this.request?.section.nominated);
    if (body.length > 0 || end !== undefined) exchange.onBody(body, end);
  }

  private hold(chunk: Buffer, from: number): void {
    const { window } = this;
    this.window =
      window === undefined ? chunk : Buffer.concat([window.subarray(this.at), chunk.subarray(from)]);
    this.at = window === undefined ? from : 0;
  }

  /** Moves to what follows the bytes taken; a negative end took none. */
  private consume(end: number): void {
    if (end < 0 || this.window === undefined) return;
    this.at = end;
    if (end < this.window.length) return;
    this.window = undefined;
    this.at = 0;
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
    const { window } = this;
    const head = window && scanRequestHead(window, this.at, window.length, this.limits);
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
    const { window, options } = this;
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
    this.send(serialiseAnswer(answer, false, true));
    this.report(status, answer.body.length, reason);
    this.endLingering();
  }

  private begin(head: Http1RequestHead): void {
    this.hasServed = true;
    this.consume(head.section.end);
    this.request = head;
    this.requestBody = new BodyCursor(head.framing, this.limits.requestBodyBytesMax);
    this.startedMillis = this.options.timer.clock.monotonicMillis();
    this.phase = "deciding";
    if (head.wantsUpgrade) return this.fail("upgrade-unsupported", "");
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
    const { requestBody, window, limits } = this;
    if (requestBody === undefined) return;
    const { upstream, edits } = verdict;
    const start = this.at;
    const bodyEnd = window === undefined ? start : requestBody.advance(window, start, window.length);
    if (bodyEnd < 0) return this.fail(requestBody.refusal ?? "chunk-size-invalid", "");
    const firstBody =
      window === undefined ? nothing : requestBody.payloadOf(window.subarray(start, bodyEnd), start);
    this.consume(bodyEnd);
    if (this.isCutShort) return this.destroy();
    const end = endOf(requestBody, head.section.nominated);
    const forwarded = { client: this, request: head, edits, limits, firstBody, end };
    const exchange = beginAt(upstream, forwarded, this.options.onFault);
    if (exchange === undefined) return this.fail("decision-failed", "");
    this.exchange = exchange;
    this.wantsBody = false;
    this.phase = "exchanging";
    exchange.start();
  }

  private fail(failure: ForwardingFailure, detail: string): void {
    const problem = { status: statusOfFailure(failure), reason: failure, detail };
    this.respond(problemAnswer(problem, this.options.audience), failure);
  }

  private respond(answer: Answer, failure?: ForwardingFailure): void {
    const { request, requestBody, window } = this;
    if (request === undefined || requestBody === undefined) return this.destroy();
    if (window !== undefined && requestBody.refusal === undefined)
      this.consume(requestBody.advance(window, this.at, window.length));
    const mayContinue =
      request.keepAlive && requestBody.isComplete && answer.close !== true && !this.isClosing;
    const isHead = request.method === "HEAD";
    this.send(serialiseAnswer(answer, isHead, !mayContinue));
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
    const isLast = this.request?.keepAlive === false && this.requestBody?.isComplete === true;
    this.exchange = undefined;
    this.request = undefined;
    this.requestBody = undefined;
    if (!mayContinue) return isLast ? this.endAtOnce() : this.endLingering();
    this.phase = "idle";
    this.waitAtMost(this.limits.keepAliveIdleMillis);
    this.pump();
  }

  /** For a client that has said that it sends no more, and whose request is whole: there is nothing to read on for. */
  private endAtOnce(): void {
    if (this.window === undefined && this.socket.writableLength === 0) this.destroy();
    else this.endLingering();
  }

  /** Ends our side and reads on for a while: to close over unread bytes would reset the answer away (RFC 9112, 9.6). */
  private endLingering(): void {
    this.phase = "lingering";
    this.window = undefined;
    this.waitAtMost(this.limits.bodyIdleMillis);
    this.socket.resume();
    this.socket.end(() => this.waitAtMost(this.limits.lingerMillis));
  }

  /** Breaks the connection so that the client cannot take the part it got for the whole. */
  private truncate(): void {
    const isTcp = !(this.socket instanceof TLSSocket) && this.socket.remoteAddress !== undefined;
    if (isTcp) this.socket.resetAndDestroy();
    else this.socket.destroy();
    this.phase = "closed";
    this.onClose();
  }

  private onDrain(): void {
    if (this.exchange === undefined) this.pump();
    else this.exchange.clientDrained();
  }

  private onEnd(): void {
    this.hasClientEnded = true;
    if (this.phase === "idle" && this.socket.writableLength === 0) return this.destroy();
    if (this.phase === "idle" || this.phase === "head") return this.endLingering();
    if (this.isCutShort && this.phase !== "lingering") this.destroy();
    else if (this.mayAskClient) this.setDeadline();
  }

  /** Whether the client has ended its side within a body of which nothing is left to take. */
  private get isCutShort(): boolean {
    return this.hasClientEnded && this.window === undefined && this.requestBody?.isComplete === false;
  }

  private onClose(): void {
    const isBusy = this.phase === "deciding" || this.phase === "exchanging";
    this.phase = "closed";
    this.options.timer.remove(this);
    this.exchange?.abort();
    if (isBusy) this.report(this.exchange?.status ?? 0, this.exchange?.responseBytes ?? 0, "client-gone");
    this.exchange = undefined;
    this.request = undefined;
    this.window = undefined;
  }
}

const nothing = Buffer.alloc(0);
