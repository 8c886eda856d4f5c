import type { CoarseTimer, Deadline } from "../coarse-timer.ts";
import { ClosedStreams } from "./closed-streams.ts";
import { FrameBudget } from "./frame-budget.ts";
import { smallestFrameBytesMax } from "./frame-layout.ts";
import { FrameWriter } from "./frame-writer.ts";
import type { HeaderField } from "./hpack/header-field.ts";
import { checkHttp2Limits, defaultHttp2Limits, type Http2Limits } from "./http2-limits.ts";
import { Http2Stream, type StreamSession } from "./http2-stream.ts";
import { errorCode, errorCodeOf, type Http2Violation } from "./http2-violation.ts";
import type { ConnectForms } from "./message-head.ts";
import { OutputPump, type Schedule, type Transport } from "./output-pump.ts";
import { newPeerSettings } from "./peer-settings.ts";
import { ReceiveCredit } from "./receive-credit.ts";
import { SendQueue } from "./send-queue.ts";
import { SessionLife } from "./session-life.ts";

/** Who owns a session. Methods may be called from within any call of the session's or of a stream's. */
export interface SessionOwner {
  /** The peer's SETTINGS have come: it speaks HTTP/2, and over TLS it has let us in. */
  onReady?(): void;
  /** The session takes no new streams any more; those open go on. */
  onDraining?(): void;
  /** There may be room for another stream of ours, after there was none. */
  onCapacity?(): void;
  /** The peer did, or left undone, something over which a stream or the connection is ended by us. */
  onViolation?(violation: Http2Violation): void;
  /** The session is over; every stream has been told before. */
  onClosed?(violation: Http2Violation | undefined): void;
}

/** What a session needs. */
export interface SessionOptions {
  readonly transport: Transport;
  readonly timer: CoarseTimer;
  readonly schedule: Schedule;
  readonly limits?: Http2Limits;
  /** Which forms of CONNECT a server takes; none unless given. */
  readonly connect?: ConnectForms;
  /** What a handler threw: a fault of ours, over which the session ends and the process does not. */
  readonly onFault?: (fault: unknown) => void;
}

/** How many streams that we reset are remembered, while frames for them may be on their way. */
const resetStreamsKept = 1024;
/** How many streams that ended are remembered, to tell their peer what it did wrong. */
const endedStreamsKept = 128;
/** A piece of a body that is smaller, and not for want of more to send, is no work but a trick. */
const dribbleBytes = 256;
const dribbleCost = 2;

/** The outgoing half of a session: its streams, how they send, and how they and the connection end. */
export abstract class SessionCore implements StreamSession, Deadline {
  deadlineMillis: number;
  /** Open streams of either side by identifier. */
  readonly streams = new Map<number, Http2Stream>();
  readonly limits: Http2Limits;
  readonly timer: CoarseTimer;
  /** Takes no new streams. */
  isDraining = false;
  /** Everything is over, except perhaps the transport. */
  isClosed = false;
  readonly writer: FrameWriter;
  protected readonly peer = newPeerSettings();
  protected readonly life: SessionLife;
  protected readonly pump: OutputPump;
  protected readonly queue: SendQueue;
  protected readonly credit: ReceiveCredit;
  protected readonly owner: SessionOwner;
  protected readonly resetStreams = new ClosedStreams(resetStreamsKept);
  protected readonly endedStreams = new ClosedStreams(endedStreamsKept);
  private readonly resets: FrameBudget;
  private readonly controls: FrameBudget;
  private readonly reportFault: ((fault: unknown) => void) | undefined;

  constructor(owner: SessionOwner, options: SessionOptions) {
    const { timer, transport, schedule } = options;
    const onFault = (fault: unknown): void => this.onFault(fault);
    const limits = options.limits ?? defaultHttp2Limits;
    checkHttp2Limits(limits);
    this.owner = owner;
    this.reportFault = options.onFault;
    this.limits = limits;
    this.timer = timer;
    this.writer = new FrameWriter({
      capacity: 2 * limits.outputBatchBytes,
      frameBytesMax: smallestFrameBytesMax,
      encoderTableBytesMax: limits.encoderTableBytesMax,
    });
    this.credit = new ReceiveCredit(limits, this.writer);
    this.queue = new SendQueue(this.writer, limits.outputBatchBytes);
    this.pump = new OutputPump({
      writer: this.writer,
      queue: this.queue,
      transport,
      schedule,
      timer,
      onFault,
    });
    const { nowMillis } = timer;
    this.resets = new FrameBudget(limits.resetsBurstMax, limits.resetsPerSecondMax, nowMillis);
    this.controls = new FrameBudget(
      limits.controlFramesBurstMax,
      limits.controlFramesPerSecondMax,
      nowMillis,
    );
    this.life = new SessionLife(limits, nowMillis);
    this.deadlineMillis = timer.in(0);
    timer.add(this);
  }

  /** Whether the peer takes a header list of this size (SETTINGS_MAX_HEADER_LIST_SIZE); a larger one is not to be sent. */
  takes(fields: readonly HeaderField[]): boolean {
    let left = this.peer.headerListBytesMax;
    for (const { bytes } of fields) left -= bytes;
    return left >= 0;
  }

  /** Takes no new streams, lets those open end, then closes; `isRetiring` lets them take their time. */
  abstract drain(isRetiring?: boolean): void;

  /** The last stream of the peer's that we dealt with. */
  protected abstract get lastPeerStreamId(): number;

  /** Ends the connection at once: GOAWAY with the violation's code, every stream reset. */
  fail(violation: Http2Violation): void {
    if (this.isClosed) return;
    this.tell(violation);
    const code = errorCodeOf(violation);
    this.writer.goaway(this.lastPeerStreamId, code, violation);
    this.finish(violation, code);
  }

  /** Breaks the connection at once; also to be called when the transport has closed. */
  destroy(): void {
    this.pump.destroy();
    this.timer.remove(this);
    this.close(undefined, errorCode.connectError);
  }

  /** The transport takes bytes again. */
  onDrain(): void {
    this.pump.onDrain();
  }

  onDeadline(): void {
    this.deadlineMillis = this.timer.in(0);
    this.guard(() => this.sweep());
  }

  /** Tells the owner of what the peer did wrong; a fault of our own is nobody's violation. */
  protected tell(violation: Http2Violation): void {
    if (violation !== "internal-fault") this.owner.onViolation?.(violation);
  }

  /** Runs what may call a handler. */
  protected guard(run: () => void): void {
    try {
      run();
    } catch (fault) {
      this.onFault(fault);
    }
  }

  private onFault(fault: unknown): void {
    this.reportFault?.(fault);
    this.fail("internal-fault");
  }

  private sweep(): void {
    const now = this.timer.nowMillis;
    if (this.life.isLingeringPast(now)) return this.destroy();
    if (this.isClosed) return;
    const isStuck = this.pump.isBlocked && now - this.pump.blockedMillis > this.limits.sendStallMillis;
    const violation = this.life.judge(now, this.streams.size) ?? (isStuck ? "transport-stalled" : undefined);
    if (violation !== undefined) return this.fail(violation);
    if (!this.isDraining && this.life.isDue(now, this.streams.size)) this.drain(true);
    const question = this.life.questionDue(now, this.streams.size);
    if (question !== undefined) this.writer.ping(question, false);
    for (const stream of this.streams.values()) this.sweepStream(stream, now);
    this.pump.request();
  }

  sendHead(stream: Http2Stream, fields: readonly HeaderField[], isEnd: boolean): void {
    this.writer.headers(stream.id, fields, isEnd);
    this.controls.earn(2);
    if (isEnd) this.endLocal(stream);
    this.pump.request();
  }

  grant(stream: Http2Stream, wanted: number): number {
    const granted = this.queue.grant(stream, wanted);
    const isWhole = granted === wanted;
    if (isWhole) stream.stalledMillis = undefined;
    else if (granted > 0) stream.stalledMillis = this.timer.nowMillis;
    else stream.stalledMillis ??= this.timer.nowMillis;
    if (isWhole || granted >= dribbleBytes) this.controls.earn(2);
    // A peer that opens its windows by a few bytes at a time makes us send a frame for each (CVE-2019-9511). It pays
    // with its next frame, since no handler is called from here.
    else if (granted > 0) this.controls.spend(dribbleCost, this.timer.nowMillis);
    this.pump.request();
    return granted;
  }

  reset(stream: Http2Stream, code: number): void {
    this.writer.rstStream(stream.id, code);
    this.resetStreams.add(stream.id);
    this.drop(stream);
    this.pump.request();
  }

  consume(stream: Http2Stream, bytes: number): void {
    const consumed = Math.min(bytes, stream.unconsumedBytes);
    if (consumed === 0 || this.isClosed) return;
    stream.unconsumedBytes -= consumed;
    this.credit.consume(consumed);
    this.creditStream(stream, consumed);
    this.pump.request();
  }

  deadlineIn(millis: number): number {
    return this.timer.in(millis);
  }

  protected newStream(id: number): Http2Stream {
    const windows = { send: this.peer.streamWindowBytes, receive: this.limits.streamWindowBytes };
    const stream = new Http2Stream(id, this, { ...windows, millis: this.timer.nowMillis });
    this.streams.set(id, stream);
    return stream;
  }

  /** Lets the peer send as much on a stream as was consumed of it. */
  protected creditStream(stream: Http2Stream, bytes: number): void {
    if (stream.isRemoteEnded || stream.isReset) return;
    stream.uncreditedBytes += bytes;
    if (stream.uncreditedBytes < this.limits.streamWindowBytes / 2) return;
    this.writer.windowUpdate(stream.id, stream.uncreditedBytes);
    stream.receiveWindow += stream.uncreditedBytes;
    stream.uncreditedBytes = 0;
  }

  /** The peer's message on a stream is complete. */
  protected endRemote(stream: Http2Stream, trailers: readonly HeaderField[] | undefined): void {
    stream.isRemoteEnded = true;
    if (stream.isLocalEnded) this.end(stream);
    stream.handler.onEnd(trailers);
  }

  /** Refuses a stream over what the peer sent on it; a peer may make us do that only so often (CVE-2025-8671). */
  protected failStream(streamId: number, violation: Http2Violation): void {
    const code = errorCodeOf(violation);
    this.tell(violation);
    this.writer.rstStream(streamId, code);
    this.resetStreams.add(streamId);
    const stream = this.streams.get(streamId);
    if (stream !== undefined) {
      this.drop(stream);
      stream.handler.onReset(code, violation);
    }
    this.spendReset();
  }

  /** The peer has reset a stream. */
  protected dropByPeer(stream: Http2Stream, code: number): void {
    this.drop(stream);
    stream.handler.onReset(code, undefined);
  }

  /** Counts a stream that ended before its time. */
  protected spendReset(): void {
    if (!this.resets.spend(1, this.timer.nowMillis)) this.fail("reset-flood");
  }

  /** Counts frames that carry no message. */
  protected spendControl(frames: number): void {
    if (!this.controls.spend(frames, this.timer.nowMillis)) this.fail("control-frame-flood");
  }

  /** Sends what is left, tells every stream and the owner, and waits a little for the peer's end. */
  protected finish(violation: Http2Violation | undefined, code: number): void {
    this.close(violation, code);
    this.pump.end();
    this.life.linger(this.timer.nowMillis);
  }

  /** A drained session ends with its last stream. */
  protected endIfDrained(): void {
    if (this.isDraining && this.streams.size === 0 && !this.isClosed) this.onDrained();
  }

  protected abstract onDrained(): void;

  endLocal(stream: Http2Stream): void {
    stream.isLocalEnded = true;
    this.queue.remove(stream);
    if (stream.isRemoteEnded) this.end(stream);
    // The frame that ends it may be the only one of this turn.
    this.pump.request();
  }

  /** Both messages of a stream are complete. */
  private end(stream: Http2Stream): void {
    if (!this.streams.delete(stream.id)) return;
    this.endedStreams.add(stream.id);
    this.resets.earn(1);
    this.life.worked(this.timer.nowMillis);
    this.afterStream();
  }

  /** A stream is over before its time; what it held is given back. */
  private drop(stream: Http2Stream): void {
    stream.isReset = true;
    stream.isLocalEnded = true;
    stream.isRemoteEnded = true;
    this.streams.delete(stream.id);
    this.queue.remove(stream);
    this.credit.consume(stream.unconsumedBytes);
    stream.unconsumedBytes = 0;
    this.afterStream();
  }

  protected afterStream(): void {
    if (this.isDraining) this.endIfDrained();
  }

  private close(violation: Http2Violation | undefined, code: number): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.isDraining = true;
    for (const stream of this.streams.values()) {
      stream.isReset = true;
      stream.isLocalEnded = true;
      stream.isRemoteEnded = true;
      // One that throws must not keep the others from hearing of it.
      this.guard(() => stream.handler.onReset(code, violation));
    }
    this.streams.clear();
    this.guard(() => this.owner.onClosed?.(violation));
  }

  private sweepStream(stream: Http2Stream, now: number): void {
    if (stream.deadlineMillis !== undefined && stream.deadlineMillis <= now) {
      stream.deadlineMillis = undefined;
      stream.handler.onDeadline();
    }
    const { stalledMillis, isReset, sendStallMillis = this.limits.sendStallMillis } = stream;
    if (!isReset && stalledMillis !== undefined && now - stalledMillis > sendStallMillis)
      this.failStream(stream.id, "send-stalled");
  }
}
