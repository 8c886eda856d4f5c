import type { Socket } from "node:net";
import type { CoarseTimer, Deadline } from "../coarse-timer.ts";
import {
  type ForwardedRequest,
  type Forwarding,
  type ForwardingClient,
  type ForwardingFailure,
  type MessageEnd,
  opensTunnel,
  plainEnd,
  type ResponseHead,
  type Upstream,
} from "../forwarding/index.ts";
import { type Http1Limits, noEdits } from "../http1/index.ts";
import { endLater } from "./end-later.ts";
import type { TcpCounts } from "./tcp-counts.ts";
import type { TcpLimits } from "./tcp-limits.ts";
import { readRefusal, type TcpRefusal } from "./tcp-refusal.ts";

/** What became of a connection: it was opened and has ended as its two ends wanted, or why not. */
export type TcpOutcome =
  | { readonly kind: "ended" }
  | { readonly kind: "refused"; readonly refusal: TcpRefusal }
  | { readonly kind: "failed"; readonly failure: ForwardingFailure; readonly detail: string };

/** What a connection of the application is carried by. */
export interface TcpCarrier {
  readonly request: ForwardedRequest["request"];
  readonly upstream: Upstream;
  readonly http1Limits: Http1Limits;
  readonly limits: TcpLimits;
  readonly timer: CoarseTimer;
  readonly counts: TcpCounts;
  /** Called once, when it is over. */
  readonly onOver: (outcome: TcpOutcome) => void;
}

/**
 * A plain TCP connection whose bytes go through a tunnel. Nothing is read from it before the tunnel is there, so that
 * until then another instance can be asked; a refusal resets it.
 */
export class TcpClient implements ForwardingClient, Deadline {
  deadlineMillis = Number.POSITIVE_INFINITY;
  readonly #socket: Socket;
  readonly #carrier: TcpCarrier;
  #exchange: Forwarding | undefined;
  #isOpen = false;
  #refusal: Buffer[] | undefined;
  #refusalBytes = 0;
  #status = 0;
  #wantsBody = false;
  #hasEnded = false;
  #hasPassedEnd = false;
  /** Whether the other end sends no more. */
  #hasAnswered = false;
  #isOver = false;

  constructor(socket: Socket, carrier: TcpCarrier) {
    this.#socket = socket;
    this.#carrier = carrier;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, carrier.limits.keepAliveMillis);
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("end", () => this.#onEnd());
    socket.on("drain", () => this.#exchange?.clientDrained());
    // The close event that follows does all that is to be done.
    socket.on("error", () => {});
    socket.on("close", (hasFailed: boolean) => {
      // Both sides have ended, and what it sent last may still be on its way.
      if (hasFailed || !this.#hasEnded || !this.#hasAnswered) this.#onClose();
    });
    socket.pause();
    carrier.timer.add(this);
  }

  /** Asks for the tunnel. */
  start(): void {
    const { upstream, request, http1Limits: limits } = this.#carrier;
    const exchange = upstream.begin({
      client: this,
      request,
      edits: noEdits,
      limits,
      firstBody: nothing,
      end: undefined,
    });
    this.#exchange = exchange;
    exchange.start();
  }

  /** Breaks it, and the tunnel. */
  destroy(): void {
    this.#onClose();
  }

  onDeadline(): void {
    this.#exchange?.onDeadline();
  }

  waitAtMost(millis: number): void {
    this.deadlineMillis = this.#carrier.timer.in(millis);
  }

  onBodyWanted(): void {
    this.#wantsBody = this.#isOpen;
    if (!this.#wantsBody) return;
    if (this.#hasEnded) this.#passEnd();
    else this.#socket.resume();
  }

  pauseBody(): void {
    this.#wantsBody = false;
    this.#socket.pause();
  }

  writeInterim(): void {}

  writeHead(head: ResponseHead, body: Buffer, end: MessageEnd | undefined): boolean {
    this.#status = head.status;
    this.#isOpen = opensTunnel(this.#carrier.request, head);
    if (!this.#isOpen) this.#refusal = [];
    return this.write(body, end);
  }

  write(body: Buffer, end: MessageEnd | undefined): boolean {
    if (this.#refusal !== undefined) return this.#keep(this.#refusal, body);
    if (this.#isOver) return true;
    this.#carrier.counts.toAppBytes += body.length;
    // What is the exchange's may be overwritten before it has left.
    const isFlowing = body.length === 0 || this.#socket.write(Buffer.from(body));
    if (end !== undefined) {
      this.#hasAnswered = true;
      this.#socket.end();
    }
    return isFlowing;
  }

  onResponded(): void {
    if (this.#refusal === undefined) {
      endLater(this.#socket, this.#carrier.limits);
      return this.#finish({ kind: "ended" });
    }
    this.#finish({ kind: "refused", refusal: readRefusal(this.#status, Buffer.concat(this.#refusal)) });
    this.#socket.resetAndDestroy();
  }

  onFailed(failure: ForwardingFailure, detail: string): void {
    this.#finish({ kind: "failed", failure, detail });
    this.#socket.resetAndDestroy();
  }

  #keep(refusal: Buffer[], body: Buffer): boolean {
    const room = this.#carrier.limits.refusalBytesMax - this.#refusalBytes;
    const part = Buffer.from(body.subarray(0, Math.max(0, room)));
    this.#refusalBytes += part.length;
    refusal.push(part);
    return true;
  }

  #onData(chunk: Buffer): void {
    if (this.#isOver) return;
    this.#carrier.counts.fromAppBytes += chunk.length;
    this.#exchange?.onBody(chunk, undefined);
  }

  #onEnd(): void {
    this.#hasEnded = true;
    // Said of a socket also where it was paused over its last bytes, which are still on their way.
    if (this.#wantsBody) this.#passEnd();
  }

  #passEnd(): void {
    if (this.#isOver || this.#hasPassedEnd) return;
    this.#hasPassedEnd = true;
    this.#exchange?.onBody(nothing, plainEnd);
  }

  #onClose(): void {
    if (this.#isOver) return;
    this.#exchange?.abort();
    this.#finish({ kind: "failed", failure: "client-gone", detail: "" });
    this.#socket.resetAndDestroy();
  }

  #finish(outcome: TcpOutcome): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#carrier.timer.remove(this);
    this.#carrier.onOver(outcome);
  }
}

const nothing = Buffer.alloc(0);
