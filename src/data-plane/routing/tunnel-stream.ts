import { Duplex } from "node:stream";
import { fail, ok, type Result } from "../../base/result.ts";
import type { CoarseTimer, Deadline } from "../coarse-timer.ts";
import {
  type Attempts,
  connectRequest,
  type Forwarding,
  type ForwardingClient,
  type ForwardingFailure,
  type MessageEnd,
  opensTunnel,
  plainEnd,
  type RequestHead,
  type ResponseHead,
  type Upstream,
} from "../forwarding/index.ts";
import { defaultHttp1Limits, type Http1Limits, noEdits } from "../http1/index.ts";
import { readRefusal } from "../tcp/index.ts";

/** What is held of a tunnel's bytes in either direction before the other side is asked to wait. */
const heldBytesMax = 64 * 1024;
/** What is read of the answer that says why there is no tunnel, in bytes. */
const refusalBytesMax = 8 * 1024;
/** Longer than any tunnel that goes through this one may be idle, so that it never is this one that cuts it. */
const idleMillisMax = 7_500_000;

/** Why there is no tunnel: somebody there said so, or nobody could be asked. */
export type NoTunnel = "router-refused" | "router-unreachable";

/** How a tunnel is asked for. */
export interface TunnelWay {
  readonly upstream: Upstream;
  readonly timer: CoarseTimer;
  /** Who has been asked before; those who are asked now are added. */
  readonly attempts: Attempts;
}

/**
 * Asks for a tunnel to `authority`, a host and a port, and answers with its bytes as a stream (RFC 9113, 8.5), for a
 * TLS connection to lie on. What one end does not take the other is not let write, by the windows of HTTP/2.
 */
export function openTunnelStream(
  authority: string,
  way: TunnelWay,
  signal: AbortSignal,
): Promise<Result<Duplex, NoTunnel>> {
  const request = connectRequest(authority, limits);
  if (request.kind === "refused")
    return Promise.resolve(fail("router-refused", `${authority}: ${request.reason}`));
  const client = new TunnelClient(request, way);
  const onAbort = (): void => {
    client.stream.destroy();
  };
  signal.addEventListener("abort", onAbort, { once: true });
  client.start();
  return client.opened.finally(() => signal.removeEventListener("abort", onAbort));
}

/** The client of a tunnel whose bytes are those of a stream. */
class TunnelClient implements ForwardingClient, Deadline {
  deadlineMillis = Number.POSITIVE_INFINITY;
  readonly stream: Duplex;
  readonly #request: RequestHead;
  readonly #timer: CoarseTimer;
  readonly #exchange: Forwarding;
  readonly #opening = Promise.withResolvers<Result<Duplex, NoTunnel>>();
  #status = 0;
  #isOpen = false;
  #refusal: Buffer[] | undefined;
  #refusalBytes = 0;
  #wantsBody = false;
  /** What was written while the other end takes nothing. */
  #unsent: (() => void) | undefined;
  #isBlocked = false;
  #isOver = false;

  constructor(request: RequestHead, { upstream, timer, attempts }: TunnelWay) {
    this.#request = request;
    this.#timer = timer;
    this.stream = new Duplex({
      readableHighWaterMark: heldBytesMax,
      writableHighWaterMark: heldBytesMax,
      read: () => this.#onRead(),
      write: (chunk: Buffer, _, sent) => this.#send(() => this.#exchange.onBody(chunk, undefined), sent),
      final: (sent) => this.#send(() => this.#exchange.onBody(nothing, plainEnd), sent),
      destroy: (error, destroyed) => {
        this.#onDestroy(error);
        destroyed(error);
      },
    });
    // Whoever lies on it hears of its end by its close event, and it may end before anybody does.
    this.stream.on("error", () => {});
    const whole = { firstBody: nothing, end: undefined };
    this.#exchange = upstream.begin({ client: this, request, edits: noEdits, limits, ...whole, attempts });
    timer.add(this);
  }

  /** The stream, once there is a tunnel, or why there is none. */
  get opened(): Promise<Result<Duplex, NoTunnel>> {
    return this.#opening.promise;
  }

  start(): void {
    this.#exchange.start();
  }

  onDeadline(): void {
    this.#exchange.onDeadline();
  }

  waitAtMost(millis: number): void {
    this.deadlineMillis = this.#timer.in(millis);
  }

  onBodyWanted(): void {
    this.#wantsBody = this.#isOpen;
    const unsent = this.#unsent;
    if (!this.#wantsBody || unsent === undefined) return;
    this.#unsent = undefined;
    unsent();
  }

  pauseBody(): void {
    this.#wantsBody = false;
  }

  writeInterim(): void {}

  writeHead(head: ResponseHead, body: Buffer, end: MessageEnd | undefined): boolean {
    this.#status = head.status;
    this.#isOpen = opensTunnel(this.#request, head);
    if (this.#isOpen) this.#opening.resolve(ok(this.stream));
    else this.#refusal = [];
    return this.write(body, end);
  }

  write(body: Buffer, end: MessageEnd | undefined): boolean {
    if (this.#refusal !== undefined) return this.#keep(this.#refusal, body);
    if (this.stream.destroyed) return true;
    // What is the exchange's may be overwritten before it is read.
    if (body.length > 0 && !this.stream.push(Buffer.from(body))) this.#isBlocked = true;
    if (end !== undefined) this.stream.push(null);
    return !this.#isBlocked;
  }

  onResponded(): void {
    this.#leave();
    if (this.#refusal === undefined) return;
    const { reason, detail } = readRefusal(this.#status, Buffer.concat(this.#refusal));
    this.#opening.resolve(fail("router-refused", `${reason}: ${detail}`));
    this.stream.destroy();
  }

  onFailed(failure: ForwardingFailure, detail: string): void {
    this.#leave();
    this.stream.destroy(new Error(detail === "" ? failure : `${failure}: ${detail}`));
  }

  #onRead(): void {
    if (!this.#isBlocked) return;
    this.#isBlocked = false;
    if (!this.#isOver) this.#exchange.clientDrained();
  }

  #send(send: () => void, sent: () => void): void {
    const both = (): void => {
      if (!this.#isOver) send();
      sent();
    };
    if (this.#wantsBody) both();
    else this.#unsent = both;
  }

  #keep(refusal: Buffer[], body: Buffer): boolean {
    const part = Buffer.from(body.subarray(0, Math.max(0, refusalBytesMax - this.#refusalBytes)));
    this.#refusalBytes += part.length;
    refusal.push(part);
    return true;
  }

  #onDestroy(error: Error | null): void {
    this.#unsent = undefined;
    if (!this.#isOver) this.#exchange.abort();
    this.#leave();
    this.#opening.resolve(fail("router-unreachable", error?.message ?? "given up"));
  }

  #leave(): void {
    this.#isOver = true;
    this.#timer.remove(this);
  }
}

const nothing = Buffer.alloc(0);
const limits: Http1Limits = { ...defaultHttp1Limits, tunnelIdleMillis: idleMillisMax };
