import { clientPreface, int31Max } from "./frame-layout.ts";
import { fieldKind, type HeaderField } from "./hpack/header-field.ts";
import { Http2Session } from "./http2-session.ts";
import type { Http2Stream, ResponseHandler } from "./http2-stream.ts";
import { errorCode, type Http2Violation } from "./http2-violation.ts";
import { checkTrailers, type Http2ResponseHead, readResponseHead } from "./message-head.ts";
import { shortfall } from "./server-session.ts";
import type { SessionOptions, SessionOwner } from "./session-core.ts";

/** The client's side of an HTTP/2 connection. */
export class ClientSession extends Http2Session {
  private nextId = 1;
  private isFull = false;

  constructor(owner: SessionOwner, options: SessionOptions) {
    super("client", owner, options);
    this.writer.raw(clientPreface);
    this.start();
  }

  /** Whether {@link open} would open a stream now. */
  get canOpen(): boolean {
    const { ownStreamsMax } = this.limits;
    return !this.isDraining && this.streams.size < Math.min(ownStreamsMax, this.peer.streamsMax);
  }

  /** Whether the peer has said that it takes extended CONNECT (RFC 8441, 3). */
  get takesExtendedConnect(): boolean {
    return this.peer.takesExtendedConnect;
  }

  /** Sends a request's head; undefined where there is no room, and `onCapacity` says when there may be again. */
  open(fields: readonly HeaderField[], isEnd: boolean, handler: ResponseHandler): Http2Stream | undefined {
    if (!this.canOpen) {
      this.isFull = true;
      return undefined;
    }
    const stream = this.newStream(this.nextId);
    this.nextId += 2;
    stream.handler = handler;
    stream.isBodiless = isOfMethod(fields, "HEAD");
    stream.isConnect = isOfMethod(fields, "CONNECT");
    stream.responses = handler;
    this.life.worked(this.timer.nowMillis);
    stream.sendHead(fields, isEnd);
    this.isFull = !this.canOpen;
    if (this.nextId > int31Max || this.nextId / 2 > this.limits.streamsPerConnectionMax) this.drain(true);
    return stream;
  }

  /** Opens no streams any more and ends after the last. */
  override drain(isRetiring = false): void {
    this.life.draining(this.timer.nowMillis, isRetiring);
    if (this.isDraining) return;
    this.isDraining = true;
    this.owner.onDraining?.();
    this.endIfDrained();
  }

  protected override get lastPeerStreamId(): number {
    return 0;
  }

  protected override isIdle(streamId: number): boolean {
    return streamId % 2 === 0 || streamId >= this.nextId;
  }

  protected override onSettingsApplied(): void {
    this.isFull ||= !this.canOpen;
    if (this.isFull) this.offerRoom();
  }

  protected override onPong(): void {}

  protected override onDrained(): void {
    this.writer.goaway(0, errorCode.noError, "");
    this.finish(undefined, errorCode.noError);
  }

  protected override afterStream(): void {
    super.afterStream();
    if (this.isFull) this.offerRoom();
  }

  /** What came after the last stream the server took has not been looked at: it may go elsewhere (RFC 9113, 6.8). */
  protected override onGoaway(lastStreamId: number): void {
    this.spendControl(1);
    if (!this.isDraining) {
      this.isDraining = true;
      // How long the streams that are open may take is the server's to say.
      this.life.draining(this.timer.nowMillis, true);
      this.owner.onDraining?.();
    }
    for (const stream of this.streams.values())
      if (stream.id > lastStreamId) this.dropByPeer(stream, errorCode.refusedStream);
    this.endIfDrained();
  }

  protected override onNewHead(streamId: number): void {
    if (streamId % 2 === 0) return this.fail("stream-id-invalid");
    this.onFrameOfNoStream();
  }

  protected override onHead(stream: Http2Stream, fields: readonly HeaderField[], isEnd: boolean): void {
    const violation = stream.hasHead
      ? this.onTrailers(stream, fields, isEnd)
      : this.onResponse(stream, fields, isEnd);
    if (violation !== undefined) this.failStream(stream.id, violation);
  }

  private onTrailers(
    stream: Http2Stream,
    fields: readonly HeaderField[],
    isEnd: boolean,
  ): Http2Violation | undefined {
    if (stream.isTunnel) return "tunnel-header-section";
    if (!isEnd) return "trailers-without-end";
    const violation = checkTrailers(fields) ?? shortfall(stream);
    if (violation === undefined) this.endRemote(stream, fields);
    return violation;
  }

  private onResponse(
    stream: Http2Stream,
    fields: readonly HeaderField[],
    isEnd: boolean,
  ): Http2Violation | undefined {
    const head = readResponseHead(fields);
    if (typeof head === "string") return head;
    if (head.status < 200) return this.onInterim(stream, head, isEnd);
    stream.hasHead = true;
    stream.isTunnel = stream.isConnect && head.status < 300;
    // Whatever it says of a body, it has none but what comes through the tunnel (RFC 9110, 9.3.6).
    if (!stream.isTunnel) {
      if (head.status === 204 || head.status === 304) stream.isBodiless = true;
      if (!stream.isBodiless) stream.contentLength = head.contentLength;
    }
    if (isEnd && (stream.contentLength ?? 0) > 0) return "content-length-mismatch";
    stream.responses?.onResponse(head, isEnd);
    if (isEnd && !stream.isReset) this.endRemote(stream, undefined);
    return undefined;
  }

  private onInterim(
    stream: Http2Stream,
    head: Http2ResponseHead,
    isEnd: boolean,
  ): Http2Violation | undefined {
    if (isEnd) return "response-without-head";
    stream.interimResponses += 1;
    if (stream.interimResponses > this.limits.interimResponsesMax) return "too-many-interim-responses";
    stream.responses?.onInterim(head);
    return undefined;
  }

  private offerRoom(): void {
    if (!this.canOpen) return;
    this.isFull = false;
    this.owner.onCapacity?.();
  }
}

function isOfMethod(fields: readonly HeaderField[], method: string): boolean {
  return fields.some(({ kind, value }) => kind === fieldKind.method && value === method);
}
