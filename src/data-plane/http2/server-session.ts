import { clientPreface, int31Max } from "./frame-layout.ts";
import { type HeaderField, headerField } from "./hpack/header-field.ts";
import { Http2Session, type ReceivedFields } from "./http2-session.ts";
import type { Http2Stream, StreamHandler } from "./http2-stream.ts";
import { errorCode, type Http2Violation } from "./http2-violation.ts";
import {
  type ConnectForms,
  checkTrailers,
  type Http2RequestHead,
  noConnect,
  readRequestHead,
} from "./message-head.ts";
import type { SessionOptions, SessionOwner } from "./session-core.ts";

/** Who answers requests. */
export interface ServerOwner extends SessionOwner {
  /**
   * A request's head has come; `isEnd` says that `onEnd` follows at once. Answers with who deals with the stream, or
   * with undefined to refuse it as never begun, so that its client may send it elsewhere.
   */
  onRequest(stream: Http2Stream, head: Http2RequestHead, isEnd: boolean): StreamHandler | undefined;
}

/** The server's side of an HTTP/2 connection. */
export class ServerSession extends Http2Session {
  private readonly requests: ServerOwner;
  private highestId = 0;
  private requestsSeen = 0;
  /** Streams after this one are ignored; set by the second GOAWAY of a drain. */
  private lastTakenId = int31Max;
  private prefaceBytes = 0;
  private readonly connect: ConnectForms;

  constructor(owner: ServerOwner, options: SessionOptions) {
    super("server", owner, options);
    this.requests = owner;
    this.connect = options.connect ?? noConnect;
    this.start(this.connect.extended);
  }

  override read(chunk: Buffer): void {
    if (this.prefaceBytes === clientPreface.length || this.isClosed) return super.read(chunk);
    const taken = Math.min(clientPreface.length - this.prefaceBytes, chunk.length);
    const expected = clientPreface.subarray(this.prefaceBytes, this.prefaceBytes + taken);
    if (!expected.equals(chunk.subarray(0, taken))) return this.fail("preface-invalid");
    this.prefaceBytes += taken;
    if (taken < chunk.length) super.read(chunk.subarray(taken));
  }

  /** Announces the end, waits a round trip for requests on their way, then takes no more (RFC 9113, 6.8). */
  override drain(isRetiring = false): void {
    if (this.isClosed) return;
    this.life.draining(this.timer.nowMillis, isRetiring);
    if (this.isDraining) return;
    this.isDraining = true;
    this.writer.goaway(int31Max, errorCode.noError, "");
    if (!this.life.isAsking) this.writer.ping(this.life.question(this.timer.nowMillis), false);
    this.pump.request();
    this.owner.onDraining?.();
  }

  protected override get lastPeerStreamId(): number {
    return Math.min(this.highestId, this.lastTakenId);
  }

  protected override onPong(): void {
    if (!this.isDraining || this.lastTakenId !== int31Max) return;
    this.lastTakenId = this.highestId;
    this.writer.goaway(this.highestId, errorCode.noError, "");
    this.endIfDrained();
  }

  protected override onDrained(): void {
    if (this.lastTakenId !== int31Max) this.finish(undefined, errorCode.noError);
  }

  protected override onSettingsApplied(): void {}

  /** A client that says so will open no streams that we would have to mind. */
  protected override onGoaway(): void {
    this.spendControl(1);
  }

  protected override isIdle(streamId: number): boolean {
    return streamId % 2 === 0 || streamId > this.highestId;
  }

  protected override onNewHead(streamId: number, received: ReceivedFields): void {
    if (streamId % 2 === 0) return this.fail("stream-id-invalid");
    if (streamId <= this.highestId) return this.onOldHead(streamId);
    this.highestId = streamId;
    if (streamId > this.lastTakenId) return this.spendControl(1);
    this.life.worked(this.timer.nowMillis);
    this.requestsSeen += 1;
    if (this.requestsSeen >= this.limits.streamsPerConnectionMax) this.drain(true);
    if (this.streams.size >= this.limits.peerStreamsMax) return this.failStream(streamId, "too-many-streams");
    if (received.violation === "header-list-too-large") return this.refuseFields(streamId, received.isEnd);
    const head = received.violation ?? readRequestHead(received.fields, this.connect);
    if (typeof head === "string") return this.failStream(streamId, head);
    if (received.isEnd && (head.contentLength ?? 0) > 0)
      return this.failStream(streamId, "content-length-mismatch");
    this.begin(streamId, head, received.isEnd);
  }

  private begin(streamId: number, head: Http2RequestHead, isEnd: boolean): void {
    const stream = this.newStream(streamId);
    stream.hasHead = true;
    stream.contentLength = head.contentLength;
    stream.isConnect = head.method === "CONNECT";
    const handler = this.requests.onRequest(stream, head, isEnd);
    if (stream.isReset) return;
    if (handler === undefined) return stream.reset(errorCode.refusedStream);
    stream.handler = handler;
    if (isEnd) this.endRemote(stream, undefined);
  }

  /** A second header section on a request is its trailers. */
  protected override onHead(stream: Http2Stream, fields: readonly HeaderField[], isEnd: boolean): void {
    const violation = stream.isConnect
      ? "tunnel-header-section"
      : isEnd
        ? (checkTrailers(fields) ?? shortfall(stream))
        : "trailers-without-end";
    if (violation !== undefined) return this.failStream(stream.id, violation);
    this.endRemote(stream, fields);
  }

  private onOldHead(streamId: number): void {
    if (this.resetStreams.has(streamId)) return this.spendControl(1);
    this.fail(this.endedStreams.has(streamId) ? "stream-closed" : "stream-id-backwards");
  }

  /** Says why, as an answer that a client can show (RFC 6585, 5). */
  private refuseFields(streamId: number, isEnd: boolean): void {
    this.tell("header-list-too-large");
    this.writer.headers(streamId, fieldsTooLarge, true);
    if (!isEnd) this.writer.rstStream(streamId, errorCode.noError);
    this.resetStreams.add(streamId);
    this.spendReset();
  }
}

const fieldsTooLarge = [headerField(":status", "431"), headerField("content-length", "0")];

/** Trailers end a body as well as its last data does. */
export function shortfall(stream: Http2Stream): Http2Violation | undefined {
  const { contentLength, bodyBytes } = stream;
  return contentLength === undefined || contentLength === bodyBytes ? undefined : "content-length-mismatch";
}
