import type { OnReadOpts, Socket } from "node:net";
import { messageOf } from "../../base/mesh-error.ts";
import type { Result } from "../../base/result.ts";
import type { CoarseTimer, Deadline } from "../coarse-timer.ts";
import type { ConnectionSource, Waiter } from "./connection-source.ts";
import type { ForwardedRequest, Forwarding, Upstream } from "./forwarding.ts";
import { Http1Exchange } from "./http1-exchange.ts";
import type { PoolLimits } from "./pool-limits.ts";
import { type ConnectionHome, ReadPort, UpstreamConnection } from "./upstream-connection.ts";

/**
 * Opens a connection and judges its other end; the socket it answers with may be written to at once. Pass `onread` to
 * net.connect or tls.connect (a socket that ignores it works, more slowly) and stop at `signal`.
 */
export type OpenConnection = (onread: OnReadOpts, signal: AbortSignal) => Promise<Result<Socket, string>>;

interface Opening {
  readonly abort: AbortController;
  readonly untilMillis: number;
  readonly generation: number;
}

interface Waiting {
  readonly waiter: Waiter;
  readonly isFresh: boolean;
  readonly untilMillis: number;
}

/** The connections to one destination: idle ones are kept and reused, and both they and the requests that wait are bounded. */
export class ConnectionPool implements Upstream, ConnectionSource, ConnectionHome, Deadline {
  /** Looks at its own lists at every tick. */
  deadlineMillis = 0;
  private readonly open: OpenConnection;
  private readonly limits: PoolLimits;
  private readonly timer: CoarseTimer;
  private readonly connections = new Set<UpstreamConnection>();
  private readonly tunnels = new Set<UpstreamConnection>();
  /** The one used last stands last and is used next, so that the others can expire from the front. */
  private readonly idle: UpstreamConnection[] = [];
  private readonly openings = new Set<Opening>();
  private readonly waiting: Waiting[] = [];
  private generation = 0;
  private isClosed = false;

  constructor(open: OpenConnection, limits: PoolLimits, timer: CoarseTimer) {
    this.open = open;
    this.limits = limits;
    this.timer = timer;
    timer.add(this);
  }

  /** Connections without a request. */
  get idleCount(): number {
    return this.idle.length;
  }

  /** Connections open or being opened. */
  get openCount(): number {
    return this.connections.size + this.openings.size + this.tunnels.size;
  }

  /** Requests waiting for a connection. */
  get waitingCount(): number {
    return this.waiting.length;
  }

  begin(request: ForwardedRequest): Forwarding {
    return new Http1Exchange(request, this);
  }

  acquire(waiter: Waiter, fresh: boolean): UpstreamConnection | undefined {
    if (this.isClosed) {
      waiter.onNoConnection("upstream-connect-failed", "the pool is closed");
      return undefined;
    }
    const connection = fresh ? undefined : this.takeIdle();
    if (connection !== undefined) return connection;
    if (this.waiting.length >= this.limits.waitingMax) {
      waiter.onNoConnection("upstream-pool-exhausted", `${this.limits.waitingMax} requests are waiting`);
      return undefined;
    }
    this.waiting.push({ waiter, isFresh: fresh, untilMillis: this.timer.in(this.limits.waitMillis) });
    if (fresh && this.isFull) this.idle[0]?.destroy();
    this.openForWaiting();
    return undefined;
  }

  cancel(waiter: Waiter): void {
    const index = this.waiting.findIndex((waiting) => waiting.waiter === waiter);
    if (index >= 0) this.waiting.splice(index, 1);
  }

  /**
   * Lets every present connection finish its request and be closed, spread over a time in which the others go on being
   * used: new ones for all at once would hold up every request for as many handshakes.
   */
  drain(overMillis = 0): void {
    this.generation += 1;
    const now = this.timer.nowMillis;
    let place = 0;
    for (const connection of this.connections) {
      const retireAtMillis = now + (overMillis * place) / this.connections.size;
      connection.retireAtMillis = Math.min(connection.retireAtMillis, retireAtMillis);
      place += 1;
    }
    this.retireIdle();
  }

  /** Breaks the connections that a predicate names, with the requests on them. */
  destroyAll(isMeant: (socket: Socket) => boolean = () => true): void {
    for (const connections of [this.connections, this.tunnels])
      for (const connection of connections) if (isMeant(connection.socket)) connection.revoke();
  }

  /** Breaks everything, refuses all who wait, and opens nothing again. */
  close(): void {
    this.isClosed = true;
    this.timer.remove(this);
    for (const opening of this.openings) opening.abort.abort();
    for (const { waiter } of this.waiting.splice(0))
      waiter.onNoConnection("upstream-connect-failed", "the pool is closed");
    this.destroyAll();
  }

  onReleased(connection: UpstreamConnection): void {
    if (connection.retireAtMillis <= this.timer.nowMillis || this.isClosed) return connection.destroy();
    const index = this.waiting.findIndex((waiting) => !waiting.isFresh);
    const [next] = index < 0 ? [] : this.waiting.splice(index, 1);
    if (next !== undefined) return next.waiter.onConnection(connection);
    if (this.idle.length >= this.limits.idleMax) return connection.destroy();
    connection.idleSinceMillis = this.timer.nowMillis;
    this.idle.push(connection);
  }

  onClosed(connection: UpstreamConnection): void {
    this.connections.delete(connection);
    this.tunnels.delete(connection);
    const index = this.idle.indexOf(connection);
    if (index >= 0) this.idle.splice(index, 1);
    this.openForWaiting();
  }

  onTunnel(connection: UpstreamConnection): boolean {
    if (this.tunnels.size >= this.limits.tunnelsMax) return false;
    this.connections.delete(connection);
    this.tunnels.add(connection);
    this.openForWaiting();
    return true;
  }

  onDeadline(): void {
    const now = this.timer.nowMillis;
    this.deadlineMillis = 0;
    this.retireIdle();
    for (let first = this.idle[0]; first !== undefined; first = this.idle[0]) {
      if (first.idleSinceMillis + this.limits.idleMillis > now) break;
      first.destroy();
    }
    for (let first = this.waiting[0]; first !== undefined; first = this.waiting[0]) {
      if (first.untilMillis > now) break;
      this.waiting.shift();
      first.waiter.onNoConnection("upstream-pool-timeout", "no connection became free in time");
    }
    for (const opening of this.openings) if (opening.untilMillis <= now) this.giveUp(opening);
  }

  /** A socket may be destroyed before its close event tells us. */
  private takeIdle(): UpstreamConnection | undefined {
    for (let connection = this.idle.pop(); connection !== undefined; connection = this.idle.pop())
      if (!connection.socket.destroyed) return connection;
    return undefined;
  }

  private retireIdle(): void {
    const due = this.idle.filter(({ retireAtMillis }) => retireAtMillis <= this.timer.nowMillis);
    for (const connection of due) connection.destroy();
  }

  private get isFull(): boolean {
    return this.connections.size + this.openings.size >= this.limits.openMax;
  }

  private openForWaiting(): void {
    const { openingMax } = this.limits;
    while (!this.isClosed && this.openings.size < this.waiting.length) {
      if (this.openings.size >= openingMax || this.isFull) return;
      void this.openOne();
    }
  }

  private async openOne(): Promise<void> {
    const opening: Opening = {
      abort: new AbortController(),
      untilMillis: this.timer.in(this.limits.connectMillis),
      generation: this.generation,
    };
    this.openings.add(opening);
    const port = new ReadPort(this.limits.readBufferBytes);
    const result = await this.tryOpen(port, opening);
    if (!this.openings.delete(opening)) {
      if (result.ok) discard(result.value);
      return;
    }
    if (result.ok) this.welcome(result.value, port, opening);
    else
      this.refuseFirst(
        "upstream-connect-failed",
        result.detail === "" ? result.reason : `${result.reason}: ${result.detail}`,
      );
    this.openForWaiting();
  }

  private async tryOpen(port: ReadPort, opening: Opening): Promise<Result<Socket, string>> {
    try {
      return await this.open(port.onread, opening.abort.signal);
    } catch (error) {
      return { ok: false, reason: "open-failed", detail: messageOf(error) };
    }
  }

  private welcome(socket: Socket, port: ReadPort, opening: Opening): void {
    if (socket.destroyed || port.spokeEarly || this.isClosed) {
      discard(socket);
      return this.refuseFirst("upstream-connect-failed", port.spokeEarly ? "unsolicited bytes" : "closed");
    }
    const connection = new UpstreamConnection(socket, this);
    // Begun before a drain, so it may show what the drain was to be rid of.
    if (opening.generation !== this.generation) connection.retireAtMillis = this.timer.nowMillis;
    this.connections.add(connection);
    port.attach(connection);
    const next = this.waiting.shift();
    if (next === undefined) this.onReleased(connection);
    else next.waiter.onConnection(connection);
  }

  /** One failed attempt ends one wait, the longest. */
  private refuseFirst(reason: "upstream-connect-failed" | "upstream-connect-timeout", detail: string): void {
    this.waiting.shift()?.waiter.onNoConnection(reason, detail);
  }

  private giveUp(opening: Opening): void {
    this.openings.delete(opening);
    opening.abort.abort();
    this.refuseFirst("upstream-connect-timeout", "the connection was not open in time");
    this.openForWaiting();
  }
}

function discard(socket: Socket): void {
  socket.on("error", () => {});
  socket.destroy();
}
