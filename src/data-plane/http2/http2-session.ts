import { frameFlag, frameType, int31Max, settingId } from "./frame-layout.ts";
import { FrameReader, type FrameSink } from "./frame-reader.ts";
import { HeaderBlock } from "./header-block.ts";
import type { HeaderField } from "./hpack/header-field.ts";
import { HpackDecoder } from "./hpack/hpack-decoder.ts";
import type { Http2Stream } from "./http2-stream.ts";
import type { Http2Violation } from "./http2-violation.ts";
import { readSettings } from "./peer-settings.ts";
import { SessionCore, type SessionOptions, type SessionOwner } from "./session-core.ts";

/** SETTINGS cost more than other frames: each may touch every stream. */
const settingsCost = 10;

/** A header section as it came, and what is wrong with it already. */
export interface ReceivedFields {
  readonly fields: readonly HeaderField[];
  readonly isEnd: boolean;
  readonly violation: Http2Violation | undefined;
}

/** One HTTP/2 connection (RFC 9113): what both sides do with what comes in. Feeds on bytes and never throws over them. */
export abstract class Http2Session extends SessionCore implements FrameSink {
  protected readonly reader: FrameReader;
  protected readonly block: HeaderBlock;
  private readonly role: "client" | "server";
  private readonly decoder: HpackDecoder;
  /** The stream that takes the DATA frame being read. */
  private dataStream: Http2Stream | undefined;

  constructor(role: "client" | "server", owner: SessionOwner, options: SessionOptions) {
    super(owner, options);
    this.role = role;
    this.reader = new FrameReader(this, this.limits.frameBytesMax);
    this.block = new HeaderBlock(this.limits);
    this.decoder = new HpackDecoder(this.limits.decoderTableBytes, this.limits);
  }

  /** Reads bytes from the transport; views of them are handed on, so they must not change before this returns. */
  read(chunk: Buffer): void {
    if (this.isClosed) return;
    this.life.heard(this.timer.nowMillis);
    this.guard(() => this.readFrames(chunk));
    this.pump.request();
  }

  private readFrames(chunk: Buffer): void {
    this.reader.read(chunk);
    if (this.reader.violation !== undefined) this.fail(this.reader.violation);
    // What we owe the peer in answers must not pile up while it does not read them.
    else if (this.writer.output.length > this.limits.outputBytesMax) this.fail("output-flood");
  }

  /** Sends our SETTINGS and the window of the connection. */
  protected start(takesExtendedConnect = false): void {
    const { limits } = this;
    const pairs: [number, number][] = [
      [settingId.maxConcurrentStreams, limits.peerStreamsMax],
      [settingId.initialWindowSize, limits.streamWindowBytes],
      [settingId.maxFrameSize, limits.frameBytesMax],
      [settingId.maxHeaderListSize, limits.headerListBytesMax],
      [settingId.headerTableSize, limits.decoderTableBytes],
      [settingId.noRfc7540Priorities, 1],
    ];
    if (takesExtendedConnect) pairs.push([settingId.enableConnectProtocol, 1]);
    if (this.role === "client") pairs.push([settingId.enablePush, 0]);
    this.writer.settings(pairs);
    this.credit.refill();
    this.pump.request();
  }

  onFrame(): void {
    const { reader, block } = this;
    reader.isStopped = this.isClosed;
    if (this.isClosed) return;
    const { type, flags } = reader;
    if (!this.life.hasPeerSettings && (type !== frameType.settings || (flags & frameFlag.ack) !== 0))
      return this.fail("first-frame-not-settings");
    const isContinuation = type === frameType.continuation;
    if (block.streamId !== 0 && (!isContinuation || reader.streamId !== block.streamId))
      return this.fail("continuation-expected");
    switch (type) {
      case frameType.headers:
        return this.onHeadersFrame();
      case frameType.continuation:
        return block.streamId === 0 ? this.fail("continuation-unexpected") : this.onContinuation();
      case frameType.rstStream:
        return this.onRstStream();
      case frameType.windowUpdate:
        return this.onWindowUpdate();
      case frameType.settings:
        return this.onSettings();
      case frameType.ping:
        return this.onPing();
      case frameType.goaway:
        return this.onGoaway(reader.window.readUInt32BE(reader.start) & int31Max);
      case frameType.priority:
        return this.onPriority();
      default:
        this.spendControl(1);
    }
  }

  onDataBegin(): void {
    const { reader, block } = this;
    this.dataStream = undefined;
    if (this.isClosed) return;
    if (!this.life.hasPeerSettings) return this.fail("first-frame-not-settings");
    if (block.streamId !== 0) return this.fail("continuation-expected");
    if (!this.credit.receive(reader.length)) return this.fail("window-exceeded");
    const stream = this.streams.get(reader.streamId);
    if (stream === undefined) {
      this.credit.consume(reader.length);
      return this.onFrameOfNoStream();
    }
    const dataBytes = reader.length - reader.paddingBytes;
    stream.receiveWindow -= reader.length;
    stream.bodyBytes += dataBytes;
    const violation = this.judgeData(stream, dataBytes);
    if (violation !== undefined) {
      this.credit.consume(reader.length);
      return this.failStream(stream.id, violation);
    }
    const isEnd = (reader.flags & frameFlag.endStream) !== 0;
    if (dataBytes === 0 && !isEnd) this.spendControl(1);
    if (reader.paddingBytes > 0) {
      this.credit.consume(reader.paddingBytes);
      this.creditStream(stream, reader.paddingBytes);
    }
    stream.unconsumedBytes += dataBytes;
    this.dataStream = stream;
  }

  onDataPiece(): void {
    const { dataStream: stream, reader } = this;
    if (stream !== undefined && !stream.isReset)
      stream.handler.onData(reader.window, reader.start, reader.end);
  }

  onDataEnd(): void {
    const { dataStream: stream } = this;
    this.dataStream = undefined;
    if (stream === undefined || stream.isReset || (this.reader.flags & frameFlag.endStream) === 0) return;
    this.endRemote(stream, undefined);
  }

  /** What is wrong with data on a stream that is there. */
  private judgeData(stream: Http2Stream, dataBytes: number): Http2Violation | undefined {
    if (stream.isRemoteEnded) return "stream-closed";
    if (!stream.hasHead) return "response-without-head";
    if (stream.receiveWindow < 0) return "window-exceeded";
    const { contentLength, bodyBytes } = stream;
    if (stream.isBodiless && dataBytes > 0) return "content-length-mismatch";
    if (contentLength === undefined) return undefined;
    const isEnd = (this.reader.flags & frameFlag.endStream) !== 0;
    return bodyBytes > contentLength || (isEnd && bodyBytes < contentLength)
      ? "content-length-mismatch"
      : undefined;
  }

  /** A frame on a stream that is not open: never was, or is over. */
  protected onFrameOfNoStream(): void {
    const { streamId } = this.reader;
    if (this.isIdle(streamId)) return this.fail("stream-idle");
    // Its sender may not have heard of the reset yet (RFC 9113, 5.1).
    if (!this.resetStreams.has(streamId)) return this.fail("stream-closed");
    this.spendControl(1);
  }

  private onHeadersFrame(): void {
    const { reader, block } = this;
    const { flags, streamId, window } = reader;
    let { start, end } = reader;
    if ((flags & frameFlag.padded) !== 0) {
      end -= window[start] ?? 0;
      start += 1;
    }
    let isSelfDependent = false;
    if ((flags & frameFlag.priority) !== 0) {
      isSelfDependent = end - start >= 4 && (window.readUInt32BE(start) & int31Max) === streamId;
      start += 5;
    }
    if (start > end) return this.fail("padding-invalid");
    const isEnd = (flags & frameFlag.endStream) !== 0;
    if ((flags & frameFlag.endHeaders) === 0) {
      block.begin(streamId, isEnd);
      this.life.blockDeadlineMillis = this.timer.in(this.limits.headerBlockMillis);
      const violation = block.add(window, start, end);
      return violation === undefined ? undefined : this.fail(violation);
    }
    this.decode({ window, start, end }, isEnd, isSelfDependent);
  }

  private onContinuation(): void {
    const { reader, block } = this;
    const violation = block.continue() ?? block.add(reader.window, reader.start, reader.end);
    if (violation !== undefined) return this.fail(violation);
    if ((reader.flags & frameFlag.endHeaders) === 0) return;
    const { whole, isEndStream } = block;
    block.end();
    this.life.blockDeadlineMillis = Number.POSITIVE_INFINITY;
    this.decode({ window: whole, start: 0, end: whole.length }, isEndStream, false);
  }

  /** Every block is decoded, whatever becomes of its stream: the two tables must stay the same. */
  private decode(
    at: { window: Buffer; start: number; end: number },
    isEnd: boolean,
    isSelfDependent: boolean,
  ): void {
    const fields = this.decoder.decode(at.window, at.start, at.end);
    if (fields === undefined) return this.fail("header-block-invalid");
    const { streamId } = this.reader;
    const stream = this.streams.get(streamId);
    const violation = isSelfDependent
      ? "priority-self-dependency"
      : this.decoder.isOversize
        ? "header-list-too-large"
        : undefined;
    if (stream === undefined) return this.onNewHead(streamId, { fields, isEnd, violation });
    if (violation !== undefined) return this.failStream(streamId, violation);
    if (stream.isRemoteEnded) return this.failStream(streamId, "stream-closed");
    this.onHead(stream, fields, isEnd);
  }

  /** A header section on a stream that is not there. */
  protected abstract onNewHead(streamId: number, received: ReceivedFields): void;

  /** A header section on an open stream. */
  protected abstract onHead(stream: Http2Stream, fields: readonly HeaderField[], isEnd: boolean): void;

  /** Whether a stream has not been opened yet by whoever may. */
  protected abstract isIdle(streamId: number): boolean;

  /** The peer takes no streams after this one. */
  protected abstract onGoaway(lastStreamId: number): void;

  /** The peer's SETTINGS hold from now on. */
  protected abstract onSettingsApplied(): void;

  /** A PING of ours was answered. */
  protected abstract onPong(): void;

  private onRstStream(): void {
    const { streamId, window, start } = this.reader;
    const stream = this.streams.get(streamId);
    if (stream !== undefined) this.dropByPeer(stream, window.readUInt32BE(start));
    else if (this.isIdle(streamId)) return this.fail("stream-idle");
    // A server resets what we asked of it ourselves; a client makes us work for nothing (CVE-2023-44487), unless the
    // stream has held its place among those that may be open for a while.
    if (stream === undefined || this.role === "client") this.spendControl(1);
    else if (stream.openedMillis === this.timer.nowMillis) this.spendReset();
  }

  private onWindowUpdate(): void {
    const { streamId, window, start } = this.reader;
    const increment = window.readUInt32BE(start) & int31Max;
    this.spendControl(1);
    if (streamId === 0) {
      if (increment === 0) return this.fail("window-increment-zero");
      this.queue.window += increment;
      if (this.queue.window > int31Max) this.fail("window-overflow");
      return;
    }
    const stream = this.streams.get(streamId);
    if (stream === undefined) return this.isIdle(streamId) ? this.fail("stream-idle") : undefined;
    if (increment === 0) return this.failStream(streamId, "window-increment-zero");
    stream.sendWindow += increment;
    if (stream.sendWindow > int31Max) return this.failStream(streamId, "window-overflow");
    if (stream.wantsToSend) this.queue.enqueue(stream);
  }

  private onSettings(): void {
    const { reader, peer, life } = this;
    if ((reader.flags & frameFlag.ack) !== 0) {
      if (!life.acknowledged()) this.spendControl(1);
      return;
    }
    if (life.hasPeerSettings) this.spendControl(settingsCost);
    const before = peer.streamWindowBytes;
    const violation = readSettings(peer, reader.window.subarray(reader.start, reader.end), this.role);
    if (violation !== undefined) return this.fail(violation);
    this.writer.frameBytesMax = peer.frameBytesMax;
    this.writer.settingsAck();
    this.writer.encoder.allowTableBytes(peer.headerTableBytesLeast);
    this.writer.encoder.allowTableBytes(peer.headerTableBytes);
    if (peer.streamWindowBytes !== before) this.moveWindows(peer.streamWindowBytes - before);
    this.onSettingsApplied();
    if (life.hasPeerSettings) return;
    life.hasPeerSettings = true;
    this.owner.onReady?.();
  }

  /** A new initial window moves that of every open stream, below zero if need be (RFC 9113, 6.9.2). */
  private moveWindows(difference: number): void {
    for (const stream of this.streams.values()) {
      stream.sendWindow += difference;
      if (stream.sendWindow > int31Max) return this.fail("window-overflow");
      if (stream.wantsToSend) this.queue.enqueue(stream);
    }
  }

  private onPing(): void {
    const { reader } = this;
    const opaque = reader.window.subarray(reader.start, reader.end);
    const isAnswer = (reader.flags & frameFlag.ack) !== 0;
    if (isAnswer && this.life.answered(opaque)) return this.onPong();
    this.spendControl(1);
    if (!isAnswer) this.writer.ping(opaque, true);
  }

  /** Priorities are read for their errors alone (RFC 9113, 5.3.2). */
  private onPriority(): void {
    const { streamId, window, start, end } = this.reader;
    this.spendControl(1);
    const violation =
      end - start !== 5
        ? "frame-size-invalid"
        : (window.readUInt32BE(start) & int31Max) === streamId
          ? "priority-self-dependency"
          : undefined;
    if (violation === undefined) return;
    if (this.streams.has(streamId)) this.failStream(streamId, violation);
    else this.fail(violation);
  }
}
