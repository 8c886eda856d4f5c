import type { RandomBytes } from "../../base/clock.ts";
import type { CoarseTimer } from "../coarse-timer.ts";
import { checkTrailers, type Http1Limits, type Trailer } from "../http1/index.ts";
import {
  errorCode,
  type HeaderField,
  type Http2RequestHead,
  type Http2Stream,
  type StreamHandler,
} from "../http2/index.ts";
import { askForVerdict, beginAt } from "./ask-for-verdict.ts";
import { exhaustedField } from "./exhausted-mark.ts";
import {
  type ExhaustedRetries,
  type Forwarding,
  type ForwardingClient,
  type ForwardingFailure,
  type ForwardingProgress,
  type MessageEnd,
  plainEnd,
  type RequestHead,
  type ResponseHead,
} from "./forwarding.ts";
import { grpcAnswer, grpcTrailers, isGrpcRequest } from "./grpc.ts";
import { judgeFields } from "./judge-fields.ts";
import type { LineFields } from "./line-fields.ts";
import { type Answer, type ProblemAudience, problemAnswer } from "./problem-answer.ts";
import { type RequestFailure, statusOfFailure } from "./request-failure.ts";
import { opensTunnel, unopenedFields } from "./tunnel.ts";
import type { RequestObserver, Review, Verdict } from "./verdict.ts";

/** Bytes of a response that wait for the peer's windows before the upstream is asked to wait. */
const pendingBytesMax = 64 * 1024;

/** A body that declares no more is awaited, so that it leaves with its head and the application has it in one read. */
const awaitedBodyBytesMax = 16 * 1024;

/** What all streams of one connection share. */
export interface StreamService {
  readonly timer: CoarseTimer;
  readonly limits: Http1Limits;
  /** The same for calls of gRPC, which may be silent for long. */
  readonly callLimits: Http1Limits;
  /** What heads of requests are held to. */
  readonly headLimits: Http1Limits;
  readonly lines: LineFields;
  readonly audience: ProblemAudience | undefined;
  /** Whether the client is a proxy, which may ask another instance where this one's application is not there. */
  readonly isClientProxy: boolean;
  /** Given where tunnels may be opened. */
  readonly randomBytes: RandomBytes | undefined;
  readonly onFault: ((fault: unknown) => void) | undefined;
  /** Where the client is a proxy: what is not worth asking for again. */
  readonly exhausted: ExhaustedRetries | undefined;
  /** Runs what no session is the caller of; what it throws ends the connection. */
  readonly guard: (run: () => void) => void;
}

/** What an answer to a failure says beyond it. */
interface FailedHow {
  readonly isUndelivered?: boolean;
  readonly status?: number | undefined;
}

type Forward = Extract<Verdict, { kind: "forward" }>;
type Phase = "deciding" | "exchanging" | "over";

/** One request that came as a stream of HTTP/2, judged as one of HTTP/1.1. */
export class ServedStream implements StreamHandler, ForwardingClient {
  private readonly stream: Http2Stream;
  private readonly service: StreamService;
  private readonly observer: RequestObserver;
  private readonly startedMillis: number;
  private limits: Http1Limits;
  private phase: Phase = "deciding";
  private request: RequestHead | undefined;
  private isGrpc = false;
  private isTunnelOpen = false;
  private exchange: Forwarding | undefined;
  private forward: Forward | undefined;
  private mayStart = false;
  private requestBytes = 0;
  private requestEnd: MessageEnd | undefined;
  /** What nobody has taken of the body; no more than the stream's window. */
  private held: Buffer[] = [];
  private wantsBody = false;
  /** Bytes passed on that the peer is credited with once the upstream has room again. */
  private owedBytes = 0;
  /** Bytes of the response that the peer's windows have no room for. */
  private pending: Buffer | undefined;
  private responseEnd: MessageEnd | undefined;
  private isAskedToWait = false;

  constructor(stream: Http2Stream, service: StreamService, observer: RequestObserver) {
    this.stream = stream;
    this.service = service;
    this.limits = service.limits;
    this.observer = observer;
    this.startedMillis = service.timer.clock.monotonicMillis();
  }

  /** Judges the head and has it decided on; a request without a body is on its way at once, others with `start`. */
  begin(head: Http2RequestHead, hasBody: boolean): void {
    if (!hasBody) this.requestEnd = plainEnd;
    const { headLimits, randomBytes } = this.service;
    const request = judgeFields(head, hasBody, headLimits, randomBytes);
    if (request.kind === "refused") return this.refuse(request.status, request.reason);
    this.request = request;
    this.isGrpc = isGrpcRequest(request);
    if (this.isGrpc) this.limits = this.service.callLimits;
    if (request.framing.kind === "length" && request.framing.bytes > this.limits.requestBodyBytesMax)
      return this.fail("body-too-large", "");
    this.waitAtMost(this.limits.decisionMillis);
    const { guard, onFault } = this.service;
    askForVerdict((head) => this.observer.decide(head), request, {
      settle: (verdict) => {
        if (this.phase === "deciding") this.apply(verdict);
      },
      guard,
      onFault,
    });
    if (!hasBody) this.start();
  }

  /** Sends what is there of the request; called once all that came in one turn with its head has been read. */
  start(): void {
    this.mayStart = true;
    this.launch();
  }

  onData(window: Buffer, start: number, end: number): void {
    if (this.phase === "over") return this.stream.consume(end - start);
    this.requestBytes += end - start;
    if (this.requestBytes > this.limits.requestBodyBytesMax) {
      this.stream.consume(end - start);
      return this.failLate("body-too-large");
    }
    this.held.push(Buffer.from(window.subarray(start, end)));
    if (this.phase === "deciding" && this.forward !== undefined) this.awaitBody();
    else if (this.wantsBody) this.passBody();
  }

  onEnd(trailers: readonly HeaderField[] | undefined): void {
    if (this.requestEnd !== undefined || this.phase === "over") {
      this.requestEnd ??= plainEnd;
      return;
    }
    const refusal = trailers === undefined ? undefined : checkTrailers(trailers);
    if (refusal !== undefined) {
      this.requestEnd = plainEnd;
      return this.failLate(refusal);
    }
    this.requestEnd = trailers === undefined || trailers.length === 0 ? plainEnd : { trailers };
    if (this.phase === "deciding") this.launch();
    else if (this.wantsBody) this.passBody();
  }

  onReset(): void {
    if (this.phase === "over") return;
    this.exchange?.abort();
    this.report(this.exchange?.status ?? 0, this.exchange?.responseBytes ?? 0, "client-gone");
    this.leave();
  }

  onWritable(): void {
    const { pending } = this;
    if (pending === undefined) return;
    this.pending = undefined;
    this.sendBody(pending);
    // The upstream stands still while the client takes what there is, however slowly: the session ends it if it stops.
    if (this.pending !== undefined) return this.waitAtMost(this.idleMillis);
    this.stopPeer();
    if (!this.isAskedToWait) return;
    this.isAskedToWait = false;
    this.exchange?.clientDrained();
  }

  onDeadline(): void {
    if (this.phase === "deciding")
      this.fail(this.forward === undefined ? "decision-timeout" : "body-timeout", "");
    else this.exchange?.onDeadline();
  }

  writeInterim(head: ResponseHead): void {
    const fields = this.service.lines.response(head);
    if (this.stream.takes(fields)) this.stream.sendInterim(fields);
  }

  writeHead(head: ResponseHead, body: Buffer, end: MessageEnd | undefined): boolean {
    const fields = this.fieldsOf(head);
    if (this.isExhausted) fields.push(exhaustedField);
    if (!this.stream.takes(fields)) {
      this.exchange?.abort();
      this.fail("head-too-large-for-client", "the head is larger than the client takes");
      return true;
    }
    const endsHere = end !== undefined && end.trailers.length === 0 && body.length === 0;
    this.stream.sendHead(fields, endsHere);
    if (!endsHere) return this.write(body, end);
    this.responseEnd = end;
    return true;
  }

  private fieldsOf(head: ResponseHead): HeaderField[] {
    const { stream, request, limits, service } = this;
    this.isTunnelOpen = request !== undefined && opensTunnel(request, head);
    if (!this.isTunnelOpen) {
      const fields = service.lines.response(head);
      const isUnopened = request?.tunnel !== undefined && head.status >= 200 && head.status < 300;
      return isUnopened ? unopenedFields(fields, head.status, service.isClientProxy) : fields;
    }
    stream.sendStallMillis = limits.tunnelIdleMillis;
    return service.lines.opening(head);
  }

  /** How long the client may take nothing. */
  private get idleMillis(): number {
    return this.isTunnelOpen ? this.limits.tunnelIdleMillis : this.limits.bodyIdleMillis;
  }

  write(body: Buffer, end: MessageEnd | undefined): boolean {
    this.responseEnd ??= end;
    if (this.pending === undefined) this.sendBody(body);
    else this.pending = Buffer.concat([this.pending, body]);
    // Once it was said, it holds until `clientDrained`: an upstream over HTTP/2 has more on its way.
    this.isAskedToWait ||= this.pending !== undefined && this.pending.length >= pendingBytesMax;
    return !this.isAskedToWait;
  }

  /** Ends a request that has been allowed and is no more, be it on its way or about to be. */
  review(isAllowed: Review): void {
    const { phase, request, exchange, forward } = this;
    if (phase === "over" || forward === undefined || request === undefined || isAllowed(request)) return;
    if (exchange === undefined) this.fail("no-longer-allowed", "");
    else exchange.fail("no-longer-allowed", "");
  }

  pauseBody(): void {
    this.wantsBody = false;
  }

  waitAtMost(millis: number): void {
    this.stream.waitAtMost(millis);
  }

  onBodyWanted(): void {
    this.wantsBody = true;
    this.stream.consume(this.owedBytes);
    this.owedBytes = 0;
    if (this.held.length > 0 || this.requestEnd !== undefined) this.passBody();
  }

  onResponded(): void {
    if (this.phase === "over") return;
    this.report(this.exchange?.status ?? 0, this.exchange?.responseBytes ?? 0);
    this.leave();
    this.stopPeer();
  }

  onFailed(failure: ForwardingFailure, detail: string, progress: ForwardingProgress, status?: number): void {
    // Only where nobody is there: one that has too much to do would be helped by nobody's asking the next.
    const isUndelivered = this.service.isClientProxy && progress === "unsent" && absences.has(failure);
    if (progress !== "answering") return this.fail(failure, detail, { isUndelivered, status });
    this.report(this.exchange?.status ?? 0, this.exchange?.responseBytes ?? 0, failure);
    this.leave();
    if (this.isGrpc) {
      this.write(nothing, { trailers: grpcTrailers(this.problem(failure, detail)) });
      return this.stopPeer();
    }
    this.pending = undefined;
    // So that the client cannot take the part it got for the whole.
    this.stream.reset(this.isTunnelOpen ? errorCode.connectError : errorCode.internalError);
  }

  /** Whether the proxy that asks is told not to repeat it: whose calls failed here, each as often as it may be tried. */
  private get isExhausted(): boolean {
    const { exhausted } = this.service;
    if (exhausted === undefined || exhausted.isEmpty || this.request === undefined) return false;
    return exhausted.covers(this.request);
  }

  private passBody(): void {
    const { exchange } = this;
    if (exchange === undefined || this.phase !== "exchanging") return;
    const body = this.takeHeld();
    exchange.onBody(body, this.requestEnd);
    if (this.wantsBody) this.stream.consume(body.length);
    else this.owedBytes += body.length;
  }

  private sendBody(piece: Buffer): void {
    const { stream, responseEnd } = this;
    const trailers: readonly Trailer[] = responseEnd?.trailers ?? [];
    const taken = stream.sendData(piece, 0, piece.length, responseEnd !== undefined && trailers.length === 0);
    if (taken < piece.length) this.pending = Buffer.from(piece.subarray(taken));
    else if (trailers.length > 0) this.sendTrailers(trailers);
  }

  private sendTrailers(trailers: readonly Trailer[]): void {
    const fields = this.service.lines.trailers(trailers);
    if (this.stream.takes(fields)) this.stream.sendTrailers(fields);
    // Without them the message would seem to be whole.
    else this.stream.reset(errorCode.internalError);
  }

  /** No verdict is a refusal: the fault is ours, and says nothing about itself. */
  private apply(verdict: Verdict | undefined): void {
    if (verdict?.kind === "answer") return this.respond(verdict);
    if (verdict === undefined) return this.fail("decision-failed", "");
    this.forward = verdict;
    this.launch();
  }

  private launch(): void {
    const { forward, request } = this;
    if (!this.mayStart || forward === undefined || request === undefined) return;
    if (this.phase !== "deciding") return;
    if (this.isBodyAwaited(request)) return this.awaitBody();
    const { limits } = this;
    const isTunnel = request.tunnel !== undefined;
    const firstBody = isTunnel ? nothing : this.takeHeld();
    const end = isTunnel ? undefined : this.requestEnd;
    const forwarded = { client: this, request, edits: forward.edits, limits, firstBody, end };
    const exchange = beginAt(forward.upstream, forwarded, this.service.onFault);
    this.owedBytes = firstBody.length;
    if (exchange === undefined) return this.fail("decision-failed", "");
    this.exchange = exchange;
    this.phase = "exchanging";
    exchange.start();
  }

  private takeHeld(): Buffer {
    const { held } = this;
    this.held = [];
    const [first = nothing] = held;
    return held.length <= 1 ? first : Buffer.concat(held);
  }

  private isBodyAwaited({ expectsContinue, framing }: RequestHead): boolean {
    if (this.requestEnd !== undefined || expectsContinue) return false;
    return framing.kind === "length" && framing.bytes <= awaitedBodyBytesMax;
  }

  private awaitBody(): void {
    this.waitAtMost(this.limits.bodyIdleMillis);
  }

  private refuse(status: number, reason: RequestFailure): void {
    this.respond(problemAnswer({ status, reason }, this.service.audience), reason);
  }

  private fail(failure: ForwardingFailure, detail: string, how: FailedHow = {}): void {
    this.respond(this.problem(failure, detail, how), failure);
  }

  private problem(failure: ForwardingFailure, detail: string, how: FailedHow = {}): Answer {
    const { isUndelivered = false, status = statusOfFailure(failure) } = how;
    return problemAnswer({ status, reason: failure, detail, isUndelivered }, this.service.audience);
  }

  /** Fails over what came after the head, whatever the exchange has done by then. */
  private failLate(failure: ForwardingFailure): void {
    if (this.exchange === undefined) this.fail(failure, "");
    else this.exchange.fail(failure, "");
  }

  private respond(answer: Answer, failure?: RequestFailure): void {
    const { lines } = this.service;
    const { status, body } = answer;
    const isBodiless = this.isGrpc || this.request?.method === "HEAD" || status === 204 || status === 304;
    this.report(status, isBodiless ? 0 : body.length, failure);
    this.leave();
    if (this.isGrpc) {
      this.responseEnd = plainEnd;
      this.stream.sendHead(grpcAnswer(answer), true);
      return this.stopPeer();
    }
    const endsHere = isBodiless || body.length === 0;
    this.stream.sendHead(lines.answer(answer), endsHere);
    if (endsHere) this.responseEnd = plainEnd;
    else this.write(Buffer.from(body), plainEnd);
    this.stopPeer();
  }

  private report(status: number, responseBytes: number, error?: RequestFailure): void {
    const { timer } = this.service;
    const durationMicros = Math.round((timer.clock.monotonicMillis() - this.startedMillis) * 1000);
    const { request, requestBytes } = this;
    const event = { request, status, requestBytes, responseBytes, durationMicros };
    this.observer.onComplete(error === undefined ? event : { ...event, error });
  }

  /** Nothing more of the request is wanted; what is left of the response is sent by `onWritable`. */
  private leave(): void {
    this.phase = "over";
    this.exchange = undefined;
    this.stream.waitAtMost(Number.POSITIVE_INFINITY);
    this.held = [];
    this.owedBytes = 0;
    this.stream.consume(this.stream.unconsumedBytes);
  }

  /** A request that was answered before its end need not be sent to it (RFC 9113, 8.1). */
  private stopPeer(): void {
    const isAnswered = this.phase === "over" && this.responseEnd !== undefined && this.pending === undefined;
    if (isAnswered && this.requestEnd === undefined) this.stream.reset(errorCode.noError);
  }
}

const nothing = Buffer.alloc(0);
const absences: ReadonlySet<ForwardingFailure> = new Set(["upstream-connect-failed", "upstream-reset"]);
