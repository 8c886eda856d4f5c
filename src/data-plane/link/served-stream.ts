import {
  type Answer,
  BodyCursor,
  type CoarseTimer,
  type CompletedRequest,
  Exchange,
  type ExchangeClient,
  type ExchangeFailure,
  type ExchangeProgress,
  type Http1Failure,
  type Http1Limits,
  type ProblemAudience,
  problemAnswer,
  type RequestHead,
  type ResponseChanges,
  type ResponseHead,
  scanRequestHead,
  statusOfFailure,
  type Verdict,
} from "../http1/index.ts";
import {
  errorCode,
  type HeaderField,
  type Http2RequestHead,
  type Http2Stream,
  type StreamHandler,
} from "../http2/index.ts";
import { requestText } from "./head-text.ts";
import type { LineFields } from "./line-fields.ts";

/** Bytes of a response that wait for the peer's windows before the application is asked to wait. */
const pendingBytesMax = 64 * 1024;

/** A body that declares no more is awaited, so that it leaves with its head and the application has it in one read. */
const awaitedBodyBytesMax = 16 * 1024;

/** Decides on one request and hears what became of it. */
export interface RequestObserver {
  /** Called once; nothing of the request goes upstream before it answers. A throw refuses. */
  decide(request: RequestHead): Verdict | Promise<Verdict>;
  onComplete(event: CompletedRequest): void;
}

/** What all streams of one connection share. */
export interface StreamService {
  readonly timer: CoarseTimer;
  readonly limits: Http1Limits;
  readonly lines: LineFields;
  readonly audience: ProblemAudience | undefined;
  /** Whether the client is a proxy, which may ask another instance where this one's application is not there. */
  readonly isClientProxy: boolean;
  readonly onFault: ((fault: unknown) => void) | undefined;
}

type Forward = Extract<Verdict, { kind: "forward" }>;
type Phase = "deciding" | "exchanging" | "over";

/** A piece of a request's body, framed as the application gets it, and how many bytes of the stream it stands for. */
interface HeldPiece {
  readonly bytes: Buffer;
  readonly credit: number;
}

/** One request that came as a stream of HTTP/2, judged as one of HTTP/1.1 and sent to an HTTP/1.1 upstream. */
export class ServedStream implements StreamHandler, ExchangeClient {
  readonly framesBodies = true;
  readonly isClosing = false;
  private readonly stream: Http2Stream;
  private readonly service: StreamService;
  private readonly observer: RequestObserver;
  private readonly startedMillis: number;
  private phase: Phase = "deciding";
  private request: RequestHead | undefined;
  private requestBody: BodyCursor | undefined;
  private exchange: Exchange | undefined;
  private forward: Forward | undefined;
  private mayStart = false;
  private isRequestOver = false;
  /** What nobody has taken of the body; no more than the stream's window. */
  private held: HeldPiece[] = [];
  /** Bytes passed on that the peer is credited with once the application has room again. */
  private owedBytes = 0;
  private isPaused = false;
  /** Bytes of the response that the peer's windows have no room for. */
  private pending: Buffer | undefined;
  private hasEnded = false;
  private isAskedToWait = false;

  constructor(stream: Http2Stream, service: StreamService, observer: RequestObserver) {
    this.stream = stream;
    this.service = service;
    this.observer = observer;
    this.startedMillis = service.timer.clock.monotonicMillis();
  }

  /** Judges the head and has it decided on; a request without a body is on its way at once, others with `start`. */
  begin(head: Http2RequestHead, hasBody: boolean): void {
    const { limits } = this.service;
    this.isRequestOver = !hasBody;
    const window = Buffer.from(requestText(head, hasBody), "latin1");
    const request = scanRequestHead(window, 0, window.length, limits);
    if (request.kind === "refused") return this.refuse(request.status, request.reason);
    if (request.kind === "need-more" || request.section.end !== window.length)
      return this.refuse(400, "request-line-malformed");
    this.request = request;
    this.requestBody = new BodyCursor(request.framing, limits.requestBodyBytesMax);
    if (request.framing.kind === "length" && request.framing.bytes > limits.requestBodyBytesMax)
      return this.fail("body-too-large", "");
    this.waitAtMost(limits.decisionMillis);
    const verdict = this.decide(request);
    if (verdict instanceof Promise) this.await(verdict);
    else this.apply(verdict);
    if (!hasBody) this.start();
  }

  /** Sends what is there of the request; called once all that came in one turn with its head has been read. */
  start(): void {
    this.mayStart = true;
    this.launch();
  }

  onData(window: Buffer, start: number, end: number): void {
    const credit = end - start;
    if (this.phase === "over") return this.stream.consume(credit);
    const isChunked = this.requestBody?.framing.kind === "chunked";
    const bytes = isChunked ? chunkOf(window, start, end) : Buffer.from(window.subarray(start, end));
    this.held.push({ bytes, credit });
    if (this.phase === "deciding" && this.forward !== undefined) this.awaitBody();
    else if (!this.isPaused) this.passBody();
  }

  onEnd(trailers: readonly HeaderField[] | undefined): void {
    this.isRequestOver = true;
    if (this.phase === "over") return;
    // One may carry the digest or signature that the application relies on, and its protocol has no place for it.
    if (trailers !== undefined && trailers.length > 0) return this.failLate("trailer-fields");
    if (this.requestBody?.framing.kind === "chunked") this.held.push({ bytes: lastChunk, credit: 0 });
    if (this.phase === "deciding") this.launch();
    else if (!this.isPaused) this.passBody();
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
    const taken = this.stream.sendData(pending, 0, pending.length, this.hasEnded);
    this.pending = taken < pending.length ? pending.subarray(taken) : undefined;
    if (this.pending !== undefined) return;
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
    this.stream.sendInterim(this.service.lines.response(head));
  }

  writeHead(head: ResponseHead, _changes: ResponseChanges, body: Buffer, isEnd: boolean): boolean {
    const endsHere = isEnd && body.length === 0;
    this.stream.sendHead(this.service.lines.response(head), endsHere);
    if (!endsHere) return this.write(body, isEnd);
    this.hasEnded = true;
    return true;
  }

  write(bytes: Buffer, isEnd: boolean): boolean {
    this.hasEnded ||= isEnd;
    const { pending } = this;
    if (pending === undefined) {
      const taken = this.stream.sendData(bytes, 0, bytes.length, isEnd);
      if (taken < bytes.length) this.pending = Buffer.from(bytes.subarray(taken));
    } else this.pending = Buffer.concat([pending, bytes]);
    this.isAskedToWait = (this.pending?.length ?? 0) >= pendingBytesMax;
    return !this.isAskedToWait;
  }

  pauseReading(): void {
    this.isPaused = true;
  }

  waitAtMost(millis: number): void {
    this.stream.waitAtMost(millis);
  }

  onBodyWanted(): void {
    this.isPaused = false;
    this.stream.consume(this.owedBytes);
    this.owedBytes = 0;
    this.passBody();
  }

  onResponded(): void {
    this.report(this.exchange?.status ?? 0, this.exchange?.responseBytes ?? 0);
    if (!this.hasEnded) this.write(nothing, true);
    this.leave();
    this.stopPeer();
  }

  onFailed(failure: ExchangeFailure, detail: string, progress: ExchangeProgress): void {
    // Only where nobody is there: one that has too much to do would be helped by nobody's asking the next.
    const isUndelivered =
      this.service.isClientProxy && progress === "unsent" && failure === "upstream-connect-failed";
    if (progress !== "answering") return this.fail(failure, detail, isUndelivered);
    this.report(this.exchange?.status ?? 0, this.exchange?.responseBytes ?? 0, failure);
    this.leave();
    this.pending = undefined;
    // So that the client cannot take the part it got for the whole.
    this.stream.reset(errorCode.internalError);
  }

  private passBody(): void {
    const { exchange } = this;
    if (exchange === undefined) return;
    while (!this.isPaused && this.phase === "exchanging") {
      const [piece] = this.held;
      if (piece === undefined) return;
      const taken = exchange.onRequestBytes(piece.bytes, 0, piece.bytes.length);
      // None is taken before there is a connection, nor after a failure, which has been answered.
      if (taken !== piece.bytes.length) return;
      this.held.shift();
      if (this.isPaused) this.owedBytes += piece.credit;
      else this.stream.consume(piece.credit);
    }
  }

  private decide(request: RequestHead): Verdict | undefined | Promise<Verdict> {
    try {
      return this.observer.decide(request);
    } catch (fault) {
      this.service.onFault?.(fault);
      return undefined;
    }
  }

  private await(promise: Promise<Verdict>): void {
    const settle = (verdict: Verdict | undefined): void => {
      if (this.phase === "deciding") this.apply(verdict);
    };
    promise.then(settle, (fault: unknown) => {
      this.service.onFault?.(fault);
      settle(undefined);
    });
  }

  /** No verdict is a refusal: the fault is ours, and says nothing about itself. */
  private apply(verdict: Verdict | undefined): void {
    if (verdict?.kind === "answer") return this.respond(verdict);
    if (verdict === undefined) return this.fail("decision-failed", "");
    this.forward = verdict;
    this.launch();
  }

  private launch(): void {
    const { forward, requestBody } = this;
    if (!this.mayStart || forward === undefined || requestBody === undefined) return;
    if (this.phase !== "deciding") return;
    if (this.isBodyAwaited()) return this.awaitBody();
    const pieces = this.held.splice(0);
    for (const { bytes, credit } of pieces) {
      if (requestBody.advance(bytes, 0, bytes.length) < 0)
        return this.fail(requestBody.refusal ?? "chunk-size-invalid", "");
      this.stream.consume(credit);
    }
    const [first] = pieces;
    const firstBody = first === undefined ? nothing : Buffer.concat(pieces.map(({ bytes }) => bytes));
    const exchange = this.openExchange(forward, requestBody, firstBody);
    if (exchange === undefined) return this.fail("decision-failed", "");
    this.exchange = exchange;
    this.phase = "exchanging";
    exchange.start();
  }

  private isBodyAwaited(): boolean {
    if (this.isRequestOver || this.request?.expectsContinue !== false) return false;
    const { framing } = this.request;
    return framing.kind === "length" && framing.bytes <= awaitedBodyBytesMax;
  }

  private awaitBody(): void {
    this.waitAtMost(this.service.limits.bodyIdleMillis);
  }

  private openExchange(
    { upstream, edits }: Forward,
    requestBody: BodyCursor,
    firstBody: Buffer,
  ): Exchange | undefined {
    const { request, service } = this;
    if (request === undefined || upstream.protocol !== "http/1.1") return undefined;
    const { limits } = service;
    try {
      return new Exchange({ client: this, request, requestBody, upstream, edits, limits }, firstBody);
    } catch (fault) {
      service.onFault?.(fault);
      return undefined;
    }
  }

  private refuse(status: number, reason: Http1Failure): void {
    this.respond(problemAnswer({ status, reason }, this.service.audience), reason);
  }

  private fail(failure: ExchangeFailure, detail: string, isUndelivered = false): void {
    const problem = { status: statusOfFailure(failure), reason: failure, detail, isUndelivered };
    this.respond(problemAnswer(problem, this.service.audience), failure);
  }

  /** Fails over what came after the head, whatever the exchange has done by then. */
  private failLate(failure: ExchangeFailure): void {
    const hasBegun = this.exchange !== undefined && this.exchange.status !== 0;
    this.exchange?.abort();
    this.onFailed(failure, "", hasBegun ? "answering" : "sent");
  }

  private respond(answer: Answer, failure?: Http1Failure): void {
    const { status, body } = answer;
    const isBodiless =
      this.request?.method === "HEAD" || status === 204 || status === 304 || body.length === 0;
    this.report(status, body.length, failure);
    this.leave();
    this.hasEnded = isBodiless;
    this.stream.sendHead(this.service.lines.answer(answer), isBodiless);
    if (!isBodiless) this.write(Buffer.from(body), true);
    this.stopPeer();
  }

  private report(status: number, responseBytes: number, error?: Http1Failure): void {
    const { timer } = this.service;
    const durationMicros = Math.round((timer.clock.monotonicMillis() - this.startedMillis) * 1000);
    const requestBytes = this.requestBody?.payloadBytes ?? 0;
    const event = { request: this.request, status, requestBytes, responseBytes, durationMicros };
    this.observer.onComplete(error === undefined ? event : { ...event, error });
  }

  /** Nothing more of the request is wanted; what is left of the response is sent by `onWritable`. */
  private leave(): void {
    this.phase = "over";
    this.exchange = undefined;
    this.stream.waitAtMost(Number.POSITIVE_INFINITY);
    for (const { credit } of this.held.splice(0)) this.stream.consume(credit);
    this.stream.consume(this.owedBytes);
    this.owedBytes = 0;
  }

  /** A request that was answered before its end need not be sent to it (RFC 9113, 8.1). */
  private stopPeer(): void {
    const isAnswered = this.phase === "over" && this.hasEnded && this.pending === undefined;
    if (isAnswered && !this.isRequestOver) this.stream.reset(errorCode.noError);
  }
}

const nothing = Buffer.alloc(0);
const lastChunk = Buffer.from("0\r\n\r\n");

function chunkOf(window: Buffer, start: number, end: number): Buffer {
  const size = `${(end - start).toString(16)}\r\n`;
  const bytes = Buffer.allocUnsafe(size.length + end - start + 2);
  const at = bytes.write(size, 0, "latin1");
  window.copy(bytes, at, start, end);
  bytes.write("\r\n", bytes.length - 2, "latin1");
  return bytes;
}
