import { frameFlag, frameHeadBytes, frameType } from "./frame-layout.ts";
import type { HeaderField } from "./hpack/header-field.ts";
import { HpackEncoder } from "./hpack/hpack-encoder.ts";
import { OutputBuffer } from "./output-buffer.ts";

/** Writes frames into one buffer; whoever owns it sends that away once per turn of the event loop. */
export class FrameWriter {
  readonly output: OutputBuffer;
  readonly encoder: HpackEncoder;
  /** Largest payload the peer accepts, in bytes. */
  frameBytesMax: number;

  constructor(options: { capacity: number; frameBytesMax: number; encoderTableBytesMax: number }) {
    this.output = new OutputBuffer(options.capacity);
    this.encoder = new HpackEncoder(options.encoderTableBytesMax);
    this.frameBytesMax = options.frameBytesMax;
  }

  /** Writes a header list as HEADERS and as many CONTINUATION frames as it takes. */
  headers(streamId: number, fields: readonly HeaderField[], isEnd: boolean): void {
    const { output } = this;
    output.reserve(frameHeadBytes);
    const head = output.length;
    output.length += frameHeadBytes;
    this.encoder.encode(fields, output);
    const blockBytes = output.length - head - frameHeadBytes;
    const endStream = isEnd ? frameFlag.endStream : frameFlag.none;
    if (blockBytes > this.frameBytesMax) return this.split(head, streamId, endStream);
    this.head(head, frameType.headers, endStream | frameFlag.endHeaders, streamId);
    this.setLength(head, blockBytes);
  }

  /** Writes the head of a DATA frame and makes room for its data; answers with where in the output it goes. */
  data(streamId: number, length: number, isEnd: boolean): number {
    return this.begin(frameType.data, isEnd ? frameFlag.endStream : frameFlag.none, streamId, length);
  }

  /** Writes RST_STREAM. */
  rstStream(streamId: number, code: number): void {
    const at = this.begin(frameType.rstStream, frameFlag.none, streamId, 4);
    this.output.bytes.writeUInt32BE(code, at);
  }

  /** Writes WINDOW_UPDATE; stream 0 is the connection. */
  windowUpdate(streamId: number, increment: number): void {
    const at = this.begin(frameType.windowUpdate, frameFlag.none, streamId, 4);
    this.output.bytes.writeUInt32BE(increment, at);
  }

  /** Writes SETTINGS with pairs of identifier and value. */
  settings(pairs: readonly (readonly [id: number, value: number])[]): void {
    let at = this.begin(frameType.settings, frameFlag.none, 0, 6 * pairs.length);
    for (const [id, value] of pairs) {
      at = this.output.bytes.writeUInt16BE(id, at);
      at = this.output.bytes.writeUInt32BE(value, at);
    }
  }

  /** Writes the acknowledgement of the peer's SETTINGS. */
  settingsAck(): void {
    this.begin(frameType.settings, frameFlag.ack, 0, 0);
  }

  /** Writes PING with eight bytes of opaque data. */
  ping(opaque: Uint8Array, isAck: boolean): void {
    const at = this.begin(frameType.ping, isAck ? frameFlag.ack : frameFlag.none, 0, 8);
    this.output.bytes.set(opaque, at);
  }

  /** Writes GOAWAY; `detail` is for the people who debug the peer. */
  goaway(lastStreamId: number, code: number, detail: string): void {
    let at = this.begin(frameType.goaway, frameFlag.none, 0, 8 + detail.length);
    at = this.output.bytes.writeUInt32BE(lastStreamId, at);
    at = this.output.bytes.writeUInt32BE(code, at);
    this.output.bytes.write(detail, at, "latin1");
  }

  /** Writes bytes that are no frame: the client's preface. */
  raw(bytes: Uint8Array): void {
    this.output.reserve(bytes.length);
    this.output.bytes.set(bytes, this.output.length);
    this.output.length += bytes.length;
  }

  /** Makes room for a frame and writes its head; answers with where its payload goes. */
  private begin(type: number, flags: number, streamId: number, length: number): number {
    const { output } = this;
    output.reserve(frameHeadBytes + length);
    const at = output.length;
    output.length += frameHeadBytes + length;
    this.head(at, type, flags, streamId);
    this.setLength(at, length);
    return at + frameHeadBytes;
  }

  private head(at: number, type: number, flags: number, streamId: number): void {
    const { bytes } = this.output;
    bytes[at + 3] = type;
    bytes[at + 4] = flags;
    bytes[at + 5] = streamId >>> 24;
    bytes[at + 6] = streamId >>> 16;
    bytes[at + 7] = streamId >>> 8;
    bytes[at + 8] = streamId;
  }

  private setLength(at: number, length: number): void {
    const { bytes } = this.output;
    bytes[at] = length >>> 16;
    bytes[at + 1] = length >>> 8;
    bytes[at + 2] = length;
  }

  /** A block written in one piece at `head` is too long for one frame. */
  private split(head: number, streamId: number, endStream: number): void {
    const { output, frameBytesMax } = this;
    const block = Buffer.from(output.bytes.subarray(head + frameHeadBytes, output.length));
    output.length = head;
    for (let start = 0; start < block.length; start += frameBytesMax) {
      const part = block.subarray(start, start + frameBytesMax);
      const end = start + frameBytesMax >= block.length ? frameFlag.endHeaders : frameFlag.none;
      const type = start === 0 ? frameType.headers : frameType.continuation;
      const at = this.begin(type, (start === 0 ? endStream : frameFlag.none) | end, streamId, part.length);
      this.output.bytes.set(part, at);
    }
  }
}
