import type { CoarseTimer } from "../coarse-timer.ts";
import type { FrameWriter } from "./frame-writer.ts";
import type { SendQueue } from "./send-queue.ts";

/** Where bytes go; every Duplex stream of Node is one. */
export interface Transport {
  /** Sends bytes that may be overwritten once `done` is called; false asks to wait for the `drain` event. */
  write(bytes: Uint8Array, done: () => void): boolean;
  /** Ends our side after what was written. */
  end(): void;
  /** Breaks the connection. */
  destroy(): void;
}

/** Runs a function once all input that is there has been handled: `setImmediate`, or by hand in a test. */
export type Schedule = (run: () => void) => void;

/** What a pump connects. */
export interface PumpParts {
  readonly writer: FrameWriter;
  readonly queue: SendQueue;
  readonly transport: Transport;
  readonly schedule: Schedule;
  readonly timer: CoarseTimer;
  /** What a handler threw that was called to write more. */
  readonly onFault: (fault: unknown) => void;
}

/** Sends what was written, at most once per turn of the event loop, and lets waiting streams write more. */
export class OutputPump {
  /** Whether the transport asked to wait. */
  isBlocked = false;
  /** Since when, on the coarse timer's clock. */
  blockedMillis = 0;
  private isScheduled = false;
  private isClosed = false;
  private readonly writer: FrameWriter;
  private readonly queue: SendQueue;
  private readonly transport: Transport;
  private readonly schedule: Schedule;
  private readonly timer: CoarseTimer;
  private readonly onFault: (fault: unknown) => void;
  private readonly run = (): void => {
    this.isScheduled = false;
    try {
      this.flush();
    } catch (fault) {
      this.onFault(fault);
    }
  };

  constructor(parts: PumpParts) {
    this.writer = parts.writer;
    this.queue = parts.queue;
    this.transport = parts.transport;
    this.schedule = parts.schedule;
    this.timer = parts.timer;
    this.onFault = parts.onFault;
  }

  /** Asks for a flush in this turn. */
  request(): void {
    if (this.isScheduled || this.isClosed) return;
    this.isScheduled = true;
    this.schedule(this.run);
  }

  /** Sends everything, unless the transport asked to wait. */
  flush(): void {
    if (this.isClosed || this.isBlocked) return;
    this.queue.serve();
    this.write();
    if (!this.isBlocked && this.queue.isReady) this.request();
  }

  /** The transport takes bytes again. */
  onDrain(): void {
    this.isBlocked = false;
    if (this.queue.isReady || this.writer.output.length > 0) this.request();
  }

  /** Sends what is left and ends our side. */
  end(): void {
    if (this.isClosed) return;
    this.write();
    this.isClosed = true;
    this.transport.end();
  }

  /** Sends nothing any more. */
  destroy(): void {
    this.isClosed = true;
    this.transport.destroy();
  }

  private write(): void {
    const { output } = this.writer;
    if (output.length === 0 || this.isClosed) return;
    const whole = output.bytes;
    this.isBlocked = !this.transport.write(output.take(), () => output.giveBack(whole));
    this.blockedMillis = this.timer.nowMillis;
  }
}
