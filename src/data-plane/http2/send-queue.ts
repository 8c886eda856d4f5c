import { initialWindowBytes } from "./frame-layout.ts";
import type { FrameWriter } from "./frame-writer.ts";
import type { Http2Stream } from "./http2-stream.ts";

/** One stream writes no more than this before the next has its turn, in bytes. */
const quantumBytes = 16 * 1024;

/**
 * Shares the connection's window and the output among the streams that have something to send, in turns. Nothing of
 * a body is kept here: a stream that may not send now is called when it may.
 */
export class SendQueue {
  /** What the peer lets us send on all streams together, in bytes. */
  window: number = initialWindowBytes;
  private readonly writer: FrameWriter;
  private readonly batchBytesMax: number;
  private first: Http2Stream | undefined;
  private last: Http2Stream | undefined;
  private turn: Http2Stream | undefined;

  constructor(writer: FrameWriter, batchBytesMax: number) {
    this.writer = writer;
    this.batchBytesMax = batchBytesMax;
  }

  /** Whether a stream waits that may send. */
  get isReady(): boolean {
    return this.first !== undefined && this.window > 0;
  }

  /** How many of `wanted` bytes this stream may send now, which count against the windows; it waits for the others. */
  grant(stream: Http2Stream, wanted: number): number {
    const isOthersTurn = this.first !== undefined && this.turn !== stream;
    const granted = isOthersTurn ? 0 : Math.min(wanted, this.room(stream));
    this.window -= granted;
    stream.sendWindow -= granted;
    if (granted < wanted) this.enqueue(stream);
    return granted;
  }

  /** Lets a stream wait for its turn; one without a window of its own waits for that alone. */
  enqueue(stream: Http2Stream): void {
    stream.wantsToSend = true;
    if (stream.isQueued || stream.sendWindow <= 0) return;
    stream.isQueued = true;
    stream.nextInQueue = undefined;
    if (this.last === undefined) this.first = stream;
    else this.last.nextInQueue = stream;
    this.last = stream;
  }

  /** Forgets a stream that is over; only open ones are kept, so the search is short. */
  remove(stream: Http2Stream): void {
    if (!stream.isQueued) return;
    stream.isQueued = false;
    let before: Http2Stream | undefined;
    for (let at = this.first; at !== undefined && at !== stream; at = at.nextInQueue) before = at;
    if (before === undefined) this.first = stream.nextInQueue;
    else before.nextInQueue = stream.nextInQueue;
    if (this.last === stream) this.last = before;
    stream.nextInQueue = undefined;
  }

  /** Calls waiting streams in turn until the output of one batch is full. */
  serve(): void {
    while (this.window > 0 && this.writer.output.length < this.batchBytesMax) {
      const stream = this.first;
      if (stream === undefined) return;
      this.first = stream.nextInQueue;
      if (this.first === undefined) this.last = undefined;
      stream.nextInQueue = undefined;
      stream.isQueued = false;
      this.turn = stream;
      stream.wantsToSend = false;
      stream.handler.onWritable();
      this.turn = undefined;
    }
  }

  private room(stream: Http2Stream): number {
    const { output, frameBytesMax } = this.writer;
    if (output.length >= this.batchBytesMax) return 0;
    return Math.max(0, Math.min(this.window, stream.sendWindow, quantumBytes, frameBytesMax));
  }
}
