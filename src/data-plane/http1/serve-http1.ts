import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { BodyCursor } from "./body-framing.ts";
import type { CoarseTimer, Deadline } from "./coarse-timer.ts";
import { Exchange } from "./exchange.ts";
import type {
  ExchangeClient,
  ExchangeFailure,
  ExchangeProgress,
  FirstBody,
  ForwardedRequest,
  Http1Client,
  RunningExchange,
  Upstream,
} from "./forwarding.ts";
import { type Http1Failure, statusOfFailure } from "./http1-failure.ts";
import { defaultHttp1Limits, type Http1Limits } from "./http1-limits.ts";
import { type Answer, type ProblemAudience, problemAnswer, serialiseAnswer } from "./problem-answer.ts";
import {
  type RefusedHead,
  type RequestHead,
  type RequestRefusal,
  scanRequestHead,
} from "./scan-request-head.ts";
import type { ResponseHead } from "./scan-response-head.ts";
import { type HeadEdits, type ResponseChanges, serialiseResponse } from "./serialise-head.ts";

/** What becomes of a request. */
export type Verdict =
  | { readonly kind: "forward"; readonly upstream: Upstream; readonly edits: HeadEdits }
  | Answer;

/** What became of a request. */
export interface CompletedRequest {
  /** The head; absent where it was refused before it was one. */
  readonly request: RequestHead | undefined;
  /** The status that the client got, 0 if it got none. */
  readonly status: number;
  /** Body bytes read from the client, without framing. */
  readonly requestBytes: number;
  /** Body bytes written to the client, without framing. */
  readonly responseBytes: number;
  /** From the last byte of the head to the last byte handed to the client's socket. */
  readonly durationMicros: number;
  readonly error?: Http1Failure;
}

/** How a connection is served. */
export interface ServeOptions {
  /** Called once per request head; nothing of the request goes upstream before it answers. A throw refuses. */
  readonly decide: (request: RequestHead) => Verdict | Promise<Verdict>;
  readonly timer: CoarseTimer;
  readonly limits?: Http1Limits;
  /** How much the client is told when something fails; all of it unless given. */
  readonly audience?: ProblemAudience;
  readonly onComplete?: (event: CompletedRequest) => void;
  /** What `decide` threw, or what was wrong with its edits: a fault of ours, of which the client learns nothing. */
  readonly onFault?: (fault: unknown) => void;
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
export function serveHttp1(socket: Socket, options: ServeOptions): Http1Connection {
  return new ServedConnection(socket, options);
}

type Phase = "idle" | "head" | "deciding" | "exchanging" | "lingering" | "closed";

class ServedConnection implements Http1Connection, ExchangeClient, Http1Client, Deadline {
  deadlineMillis: number;
  isClosing = false;
  readonly framesBodies = false;
  private readonly socket: Socket;
  private readonly options: ServeOptions;
  private readonly limits: Http1Limits;
  private phase: Phase = "idle";
  /** Bytes from the client that nobody has taken yet, from `at` on. */
  private window: Buffer | undefined;
  private at = 0;
  private request: RequestHead | undefined;
  private requestBody: BodyCursor | undefined;
  private exchange: RunningExchange | undefined;
  private startedMillis = 0;
  private lingeredBytes = 0;
  private isPaused = false;
  private isPumping = false;
  private hasClientEnded = false;

  constructor(socket: Socket, options: ServeOptions) {
    this.socket = socket;
    this.options = options;
    this.limits = options.limits ?? defaultHttp1Limits;
    this.deadlineMillis = options.timer.in(this.limits.headMillis);
    options.timer.add(this);
    socket.setNoDelay(true);
    // A client may end its side after its request and still wants the answer.
    socket.allowHalfOpen = true;
    socket.on("data", (chunk: Buffer) => this.onData(chunk));
    socket.on("drain", () => this.onDrain());
    socket.on("end", () => this.onEnd());
    // The close event that follows does all that is to be done.
    socket.on("error", () => {});
    socket.on("close", () => this.onClose());
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

  send(bytes: Uint8Array): boolean {
    return this.socket.write(bytes);
  }

  writeInterim(head: ResponseHead): void {
    this.send(serialiseResponse(head, { close: false, coding: "as-is" }, nothing));
  }

  writeHead(head: ResponseHead, changes: ResponseChanges, body: Buffer): boolean {
    return this.send(serialiseResponse(head, changes, body));
  }

  write(bytes: Buffer): boolean {
    return bytes.length === 0 || this.send(Buffer.from(bytes));
  }

  pauseReading(): void {
    if (this.isPaused) return;
    this.isPaused = true;
    this.socket.pause();
  }

  private resumeReading(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    this.socket.resume();
  }

  waitAtMost(millis: number): void {
    this.deadlineMillis = this.options.timer.in(millis);
  }

  onBodyWanted(): void {
    const { exchange, window } = this;
    if (exchange === undefined) return;
    if (window !== undefined) this.consume(exchange.onRequestBytes(window, this.at, window.length));
    // What is left over belongs to the next request, which waits.
    if (this.window === undefined) this.resumeReading();
  }

  onResponded(mayContinue: boolean): void {
    const { exchange } = this;
    this.report(exchange?.status ?? 0, exchange?.responseBytes ?? 0);
    this.next(mayContinue && !this.isClosing);
  }

  onFailed(failure: ExchangeFailure, detail: string, progress: ExchangeProgress): void {
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
        return this.pauseReading();
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
    const taken =
      this.window === undefined ? (this.exchange?.onRequestBytes(chunk, 0, chunk.length) ?? 0) : 0;
    if (taken < 0 || taken === chunk.length) return;
    this.hold(chunk, taken);
    this.pauseReading();
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
      this.pauseReading();
      return false;
    }
    const { window } = this;
    const head = window && scanRequestHead(window, this.at, window.length, this.limits);
    if (head === undefined || head.kind === "need-more") {
      if (this.hasClientEnded) this.endLingering();
      else this.resumeReading();
      if (head !== undefined && this.phase === "idle") {
        this.phase = "head";
        this.waitAtMost(this.limits.headMillis);
      }
      return false;
    }
    if (head.kind === "refused") this.refuseHead(head);
    else this.begin(head);
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

  private begin(head: RequestHead): void {
    this.consume(head.section.end);
    this.request = head;
    this.requestBody = new BodyCursor(head.framing, this.limits.requestBodyBytesMax);
    this.startedMillis = this.options.timer.clock.monotonicMillis();
    this.phase = "deciding";
    if (head.wantsUpgrade) return this.fail("upgrade-unsupported", "");
    if (head.framing.kind === "length" && head.framing.bytes > this.limits.requestBodyBytesMax)
      return this.fail("body-too-large", "");
    this.waitAtMost(this.limits.decisionMillis);
    const verdict = this.decide(head);
    if (verdict instanceof Promise) this.await(head, verdict);
    else this.apply(head, verdict);
  }

  private decide(head: RequestHead): Verdict | undefined | Promise<Verdict> {
    try {
      return this.options.decide(head);
    } catch (fault) {
      this.options.onFault?.(fault);
      return undefined;
    }
  }

  private await(head: RequestHead, promise: Promise<Verdict>): void {
    const settle = (verdict: Verdict | undefined): void => {
      if (this.request === head && this.phase === "deciding") this.apply(head, verdict);
    };
    promise.then(settle, (fault: unknown) => {
      this.options.onFault?.(fault);
      settle(undefined);
    });
  }

  /** No verdict is a refusal: the fault is ours, and says nothing about itself. */
  private apply(head: RequestHead, verdict: Verdict | undefined): void {
    if (verdict === undefined) return this.fail("decision-failed", "");
    if (verdict.kind === "answer") return this.respond(verdict);
    const { requestBody, window, limits } = this;
    if (requestBody === undefined) return;
    const { upstream, edits } = verdict;
    if (requestBody.chunks !== undefined) requestBody.chunks.keepsSpans = upstream.protocol === "h2";
    const start = this.at;
    const bodyEnd = window === undefined ? start : requestBody.advance(window, start, window.length);
    if (bodyEnd < 0) return this.fail(requestBody.refusal ?? "chunk-size-invalid", "");
    const raw = window === undefined ? nothing : window.subarray(start, bodyEnd);
    const payload = requestBody.payloadOf(raw, start);
    this.consume(bodyEnd);
    const parts = { client: this, request: head, requestBody, edits, limits };
    const exchange = this.openExchange(upstream, parts, { raw, payload });
    if (exchange === undefined) return this.fail("decision-failed", "");
    this.exchange = exchange;
    this.phase = "exchanging";
    exchange.start();
  }

  private openExchange(
    upstream: Upstream,
    parts: ForwardedRequest<ExchangeClient & Http1Client>,
    firstBody: FirstBody,
  ): RunningExchange | undefined {
    try {
      return upstream.protocol === "h2"
        ? upstream.begin(parts, firstBody)
        : new Exchange({ ...parts, upstream }, firstBody.raw);
    } catch (fault) {
      this.options.onFault?.(fault);
      return undefined;
    }
  }

  private fail(failure: ExchangeFailure, detail: string): void {
    const problem = { status: statusOfFailure(failure), reason: failure, detail };
    this.respond(problemAnswer(problem, this.options.audience), failure);
  }

  private respond(answer: Answer, failure?: ExchangeFailure): void {
    const { request, requestBody, window } = this;
    if (request === undefined || requestBody === undefined) return this.destroy();
    if (window !== undefined && requestBody.refusal === undefined)
      this.consume(requestBody.advance(window, this.at, window.length));
    const mayContinue =
      request.keepAlive && requestBody.isComplete && answer.close !== true && !this.isClosing;
    this.send(serialiseAnswer(answer, request.method === "HEAD", !mayContinue));
    this.report(answer.status, answer.body.length, failure);
    this.next(mayContinue);
  }

  private report(status: number, responseBytes: number, error?: Http1Failure): void {
    const { onComplete, timer } = this.options;
    if (onComplete === undefined) return;
    const durationMicros = Math.round((timer.clock.monotonicMillis() - this.startedMillis) * 1000);
    const requestBytes = this.requestBody?.payloadBytes ?? 0;
    const event = { request: this.request, status, requestBytes, responseBytes, durationMicros };
    onComplete(error === undefined ? event : { ...event, error });
  }

  private next(mayContinue: boolean): void {
    this.exchange = undefined;
    this.request = undefined;
    this.requestBody = undefined;
    if (!mayContinue) return this.endLingering();
    this.phase = "idle";
    this.waitAtMost(this.limits.keepAliveIdleMillis);
    this.pump();
  }

  /** Ends our side and reads on for a while: to close over unread bytes would reset the answer away (RFC 9112, 9.6). */
  private endLingering(): void {
    if (this.phase === "lingering" || this.phase === "closed") return;
    this.phase = "lingering";
    this.window = undefined;
    this.waitAtMost(this.limits.bodyIdleMillis);
    this.resumeReading();
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
    if (this.phase === "idle" || this.phase === "head") return this.endLingering();
    const isCutShort = this.requestBody?.isComplete === false && this.window === undefined;
    if (isCutShort && this.phase !== "lingering") this.destroy();
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
