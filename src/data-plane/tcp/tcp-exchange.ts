import { connect, type Socket } from "node:net";
import { codeOf } from "../../base/mesh-error.ts";
import {
  type ForwardedRequest,
  type Forwarding,
  type ForwardingClient,
  type ForwardingFailure,
  type MessageEnd,
  plainEnd,
  tunnelOpened,
} from "../forwarding/index.ts";
import { endLater } from "./end-later.ts";
import type { TcpCounts } from "./tcp-counts.ts";
import type { TcpLimits } from "./tcp-limits.ts";

/** How a connection is opened, and what hears of it. */
export interface TcpDial {
  readonly host: string;
  readonly port: number;
  readonly limits: TcpLimits;
  readonly counts: TcpCounts;
  /** Asked before the application is connected to: whether there is room for one more. */
  readonly open: () => boolean;
  /** What is said where there is none. */
  readonly whenFull: string;
  /** Called once, when a connection that there was room for is over. */
  readonly close: () => void;
}

/**
 * One TCP connection to the application, in place of a request's body one way and its response's body the other. Each
 * side may end its direction by itself, and what one side breaks is broken for the other.
 */
export class TcpExchange implements Forwarding {
  status = 0;
  responseBytes = 0;
  readonly #client: ForwardingClient;
  readonly #idleMillis: number;
  readonly #dial: TcpDial;
  #first: Buffer;
  #socket: Socket | undefined;
  #failure = "closed";
  #hasClientEnded: boolean;
  #hasAppEnded = false;
  #isOver = false;

  constructor({ client, limits, firstBody, end }: ForwardedRequest, dial: TcpDial) {
    this.#client = client;
    this.#idleMillis = limits.tunnelIdleMillis;
    this.#dial = dial;
    this.#first = firstBody;
    this.#hasClientEnded = end !== undefined;
  }

  start(): void {
    const { host, port, limits, open, whenFull } = this.#dial;
    if (!open()) return this.#refuse(whenFull);
    this.#client.waitAtMost(limits.connectMillis);
    const socket = connect({
      host,
      port,
      noDelay: true,
      // An end of one direction is passed on, and the other goes on.
      allowHalfOpen: true,
      keepAlive: true,
      keepAliveInitialDelay: limits.keepAliveMillis,
    });
    this.#socket = socket;
    socket.once("connect", () => this.#onConnect(socket));
    socket.on("data", (chunk: Buffer) => this.#onData(socket, chunk));
    socket.on("end", () => this.#onEnd());
    socket.on("drain", () => this.#onDrain());
    socket.on("error", (error) => {
      this.#failure = codeOf(error) ?? error.message;
    });
    socket.on("close", () => this.#onClose());
  }

  onBody(body: Buffer, end: MessageEnd | undefined): void {
    const socket = this.#socket;
    if (socket === undefined || this.#isOver || this.#hasClientEnded) return;
    this.#dial.counts.toAppBytes += body.length;
    const isFlowing = body.length === 0 || socket.write(body);
    if (end !== undefined) this.#endApp(socket);
    else if (!isFlowing) this.#client.pauseBody();
    this.#client.waitAtMost(this.#idleMillis);
  }

  clientDrained(): void {
    if (this.#isOver) return;
    this.#socket?.resume();
    this.#client.waitAtMost(this.#idleMillis);
  }

  fail(failure: ForwardingFailure, detail: string): void {
    if (this.#isOver) return;
    this.#break();
    this.#client.onFailed(failure, detail, this.status === 0 ? "unsent" : "answering");
  }

  abort(): void {
    if (!this.#isOver) this.#break();
  }

  onDeadline(): void {
    this.fail(this.status === 0 ? "upstream-connect-timeout" : "tunnel-idle", "");
  }

  #refuse(detail: string): void {
    this.#isOver = true;
    this.#client.onFailed("too-many-tcp-connections", detail, "unsent");
  }

  #onConnect(socket: Socket): void {
    if (this.#isOver) return;
    this.status = 200;
    // At once, so that an application that speaks first is heard, whatever the client is waiting for.
    this.#client.writeHead(tunnelOpened, nothing, undefined);
    const first = this.#first;
    this.#first = nothing;
    this.#dial.counts.toAppBytes += first.length;
    const isFlowing = first.length === 0 || socket.write(first);
    this.#client.waitAtMost(this.#idleMillis);
    if (this.#hasClientEnded) socket.end();
    else if (isFlowing) this.#client.onBodyWanted();
    else this.#client.pauseBody();
  }

  #onData(socket: Socket, chunk: Buffer): void {
    if (this.#isOver) return;
    this.responseBytes += chunk.length;
    this.#dial.counts.fromAppBytes += chunk.length;
    if (!this.#client.write(chunk, undefined)) socket.pause();
    this.#client.waitAtMost(this.#idleMillis);
  }

  #onEnd(): void {
    if (this.#isOver) return;
    this.#hasAppEnded = true;
    this.#client.write(nothing, plainEnd);
    this.#client.waitAtMost(this.#idleMillis);
    this.#finishIfEnded();
  }

  #onDrain(): void {
    if (this.#isOver || this.#hasClientEnded) return;
    this.#client.waitAtMost(this.#idleMillis);
    this.#client.onBodyWanted();
  }

  #endApp(socket: Socket): void {
    this.#hasClientEnded = true;
    socket.end();
    this.#finishIfEnded();
  }

  #finishIfEnded(): void {
    const socket = this.#socket;
    if (!this.#hasClientEnded || !this.#hasAppEnded || this.#isOver || socket === undefined) return;
    this.#isOver = true;
    endLater(socket, this.#dial.limits);
    this.#dial.close();
    this.#client.onResponded();
  }

  #onClose(): void {
    this.fail(this.status === 0 ? "upstream-connect-failed" : "upstream-reset", this.#failure);
  }

  /** A reset, so that the application cannot take the part that it got for the whole. */
  #break(): void {
    this.#isOver = true;
    this.#socket?.resetAndDestroy();
    this.#dial.close();
  }
}

const nothing = Buffer.alloc(0);
