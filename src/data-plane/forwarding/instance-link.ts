import type { Socket } from "node:net";
import { messageOf } from "../../base/mesh-error.ts";
import type { Result } from "../../base/result.ts";
import type { CoarseTimer, Deadline } from "../coarse-timer.ts";
import {
  attachSocket,
  ClientSession,
  defaultHttp2Limits,
  type Http2Violation,
  type SessionOwner,
} from "../http2/index.ts";
import type { ConnectionPool } from "./connection-pool.ts";
import type { AcquireRefusal } from "./connection-source.ts";
import { LineFields } from "./line-fields.ts";
import type { LinkLimits } from "./link-limits.ts";
import type { ConnectionTokens, PeerTokens } from "./request-tokens.ts";

/** A connection to a peer whose other end has been judged, and what the two sides agreed to speak (ALPN). */
export interface OpenedLink {
  readonly socket: Socket;
  readonly isHttp2: boolean;
}

/** Opens a connection and judges its other end; nothing may have been read from it. Stops at `signal`. */
export type OpenLink = (signal: AbortSignal) => Promise<Result<OpenedLink, string>>;

/** Who asked for a connection and waits for it; exactly one method is called. */
export interface LinkWaiter {
  onSession(lane: LinkSession): void;
  /** The peer speaks HTTP/1.1 alone. */
  onHttp1(pool: ConnectionPool): void;
  onNoLink(reason: AcquireRefusal, detail: string): void;
}

type Report = (violation: Http2Violation) => void;

/** What collects what it has to send until the end of a turn of the event loop. */
export interface Flushable {
  flush(): void;
}

/** One connection of HTTP/2 to a peer. */
export class LinkSession implements SessionOwner {
  readonly session: ClientSession;
  readonly lines = new LineFields();
  /** Where the peer may want request tokens. */
  readonly tokens: ConnectionTokens | undefined;
  /** Whether the peer has shown that it lets us in. */
  isReady = false;
  /** Whether another one is to take its place, which may show a newer certificate. */
  isRetiring = false;
  private readonly socket: Socket;
  private readonly link: SessionHome;
  private readonly report: Report | undefined;
  private flushing: Flushable[] = [];

  constructor(
    socket: Socket,
    timer: CoarseTimer,
    parts: {
      readonly link: SessionHome;
      readonly limits: LinkLimits;
      readonly report: Report | undefined;
      readonly tokens: ConnectionTokens | undefined;
    },
  ) {
    const { link, report, tokens } = parts;
    const { http2: limits = defaultHttp2Limits } = parts.limits;
    this.link = link;
    this.report = report;
    this.tokens = tokens;
    this.socket = socket;
    socket.setNoDelay(true);
    const onFault = (fault: unknown): void => link.onFault(fault);
    const transport = { transport: socket, schedule: setImmediate };
    this.session = new ClientSession(this, { ...transport, timer, limits, onFault });
    attachSocket(socket, this.session);
  }

  /** Requests in progress. */
  get streams(): number {
    return this.session.streams.size;
  }

  /** Whether a request can be sent on it now; a socket may have ended before its close event tells the session. */
  get isOpen(): boolean {
    const { socket } = this;
    return this.isReady && this.session.canOpen && !socket.destroyed && !socket.readableEnded;
  }

  /** Has something flushed once all that has come in this turn has been read. */
  flushLater(one: Flushable): void {
    if (this.flushing.length === 0) setImmediate(() => this.flush());
    this.flushing.push(one);
  }

  /** TLS 1.3 tells a client that it is connected before the server has judged it; its SETTINGS are the server's word. */
  onReady(): void {
    this.isReady = true;
    this.link.onReady(this);
  }

  onCapacity(): void {
    this.link.onCapacity();
  }

  onDraining(): void {
    if (this.streams > 0) this.link.onEnding();
  }

  onClosed(): void {
    this.link.onClosed(this);
  }

  onViolation(violation: Http2Violation): void {
    this.report?.(violation);
  }

  private flush(): void {
    const { flushing } = this;
    this.flushing = [];
    for (const one of flushing) {
      try {
        one.flush();
      } catch (fault) {
        this.link.onFault(fault);
        this.session.fail("internal-fault");
      }
    }
  }
}

/** Whom a session tells of itself. */
interface SessionHome {
  onReady(lane: LinkSession): void;
  onCapacity(): void;
  onEnding(): void;
  onClosed(lane: LinkSession): void;
  onFault(fault: unknown): void;
}

/** What a link tells its owner of what should not happen. */
export interface LinkObserver {
  /** A connection of HTTP/2 is there; the answer hears of what its peer does against the rules. */
  onOpened(): Report;
  /** A fault of ours, over which a connection has ended. */
  onFault(fault: unknown): void;
  /** A connection of HTTP/2 takes no more, for whatever reason; what is on it may end. */
  onEnding?(): void;
}

interface Opening {
  readonly abort: AbortController;
  readonly untilMillis: number;
  /** Once the connection is there and its peer's word is awaited. */
  lane: LinkSession | undefined;
  isOutdated: boolean;
}

interface Waiting {
  readonly waiter: LinkWaiter;
  readonly untilMillis: number;
}

/**
 * The connections to one instance: one of HTTP/2 that carries all requests, more where it is full, and those that end
 * with their last request. Peers that choose HTTP/1.1 are left to a pool.
 */
export class InstanceLink implements SessionHome, Deadline {
  /** Looks at its own lists at every tick. */
  deadlineMillis = 0;
  private readonly open: OpenLink;
  /** Connections of HTTP/1.1 to the peer, where there can be any. */
  readonly pool: ConnectionPool | undefined;
  /** Where the peer may want request tokens. */
  readonly tokens: PeerTokens | undefined;
  private readonly timer: CoarseTimer;
  private readonly limits: LinkLimits;
  private readonly observer: LinkObserver | undefined;
  private readonly lanes = new Set<LinkSession>();
  private readonly waiting: Waiting[] = [];
  private opening: Opening | undefined;
  private speaksHttp1 = false;
  /** When a peer that chose HTTP/1.1 is asked again. */
  private askAgainMillis = 0;
  private renewAtMillis = Number.POSITIVE_INFINITY;
  private isLeaving = false;
  private isClosed = false;

  constructor(parts: {
    readonly open: OpenLink;
    /** For peers that choose HTTP/1.1; without it they are refused. */
    readonly pool?: ConnectionPool;
    readonly timer: CoarseTimer;
    readonly limits: LinkLimits;
    readonly observer?: LinkObserver;
    readonly tokens?: PeerTokens | undefined;
  }) {
    this.open = parts.open;
    this.pool = parts.pool;
    this.timer = parts.timer;
    this.limits = parts.limits;
    this.observer = parts.observer;
    this.tokens = parts.tokens;
    this.timer.add(this);
  }

  /** Requests in progress or waiting. */
  get load(): number {
    const { pool } = this;
    let load = this.waiting.length;
    if (pool !== undefined) load += pool.waitingCount + pool.busyCount;
    for (const lane of this.lanes) load += lane.streams;
    return load;
  }

  /** Connections open or being opened. */
  get openCount(): number {
    const isOpening = this.opening !== undefined && this.opening.lane === undefined;
    return this.lanes.size + (this.pool?.openCount ?? 0) + (isOpening ? 1 : 0);
  }

  /** Connections without a request. */
  get idleCount(): number {
    let idle = this.pool?.idleCount ?? 0;
    for (const { streams } of this.lanes) if (streams === 0) idle += 1;
    return idle;
  }

  /** Requests waiting for a connection. */
  get waitingCount(): number {
    return this.waiting.length + (this.pool?.waitingCount ?? 0);
  }

  /** The connection to send a request on at once, if there is one. */
  ready(): LinkSession | undefined {
    let best: LinkSession | undefined;
    for (const lane of this.lanes)
      if (lane.isOpen && (best === undefined || isBetter(lane, best))) best = lane;
    return best;
  }

  /** Waits for a connection; the waiter may hear of it before this returns. */
  await(waiter: LinkWaiter): void {
    if (this.isClosed) return waiter.onNoLink("upstream-connect-failed", "the link is closed");
    if (this.speaksHttp1 && this.pool !== undefined) {
      if (this.timer.nowMillis >= this.askAgainMillis) this.openOne();
      return waiter.onHttp1(this.pool);
    }
    if (this.waiting.length >= this.limits.waitingMax)
      return waiter.onNoLink("upstream-pool-exhausted", `${this.limits.waitingMax} requests are waiting`);
    this.waiting.push({ waiter, untilMillis: this.timer.in(this.limits.waitMillis) });
    this.openForWaiting();
  }

  /** Takes back a wait; none of the waiter's methods is called any more. */
  cancel(waiter: LinkWaiter): void {
    const index = this.waiting.findIndex((waiting) => waiting.waiter === waiter);
    if (index >= 0) this.waiting.splice(index, 1);
  }

  /** Replaces the connections that there are, after `afterMillis`; each is used until its successor is there. */
  renew(afterMillis: number): void {
    this.pool?.drain(afterMillis);
    this.renewAtMillis = Math.min(this.renewAtMillis, this.timer.nowMillis + afterMillis);
  }

  /**
   * Lets every connection end with the requests that it carries, without a successor; `isRetiring` lets those take
   * their time.
   */
  drain(isRetiring = false): void {
    this.isLeaving = true;
    this.pool?.drain();
    for (const lane of this.lanes) lane.session.drain(isRetiring);
  }

  /** Makes a link that was drained ready for use again. */
  resume(): void {
    this.isLeaving = false;
  }

  /** Breaks everything, refuses all who wait, and opens nothing again. */
  close(): void {
    this.isClosed = true;
    this.timer.remove(this);
    this.opening?.abort.abort();
    this.opening = undefined;
    for (const lane of this.lanes) lane.session.destroy();
    this.pool?.close();
    this.refuseWaiting("upstream-connect-failed", "the link is closed");
  }

  onReady(lane: LinkSession): void {
    if (this.opening?.lane === lane) this.opening = undefined;
    for (const other of this.lanes) if (other.isRetiring) other.session.drain(true);
    this.serve();
    if (this.isLeaving) lane.session.drain();
  }

  onCapacity(): void {
    this.serve();
  }

  onEnding(): void {
    this.observer?.onEnding?.();
  }

  onClosed(lane: LinkSession): void {
    this.lanes.delete(lane);
    if (this.opening?.lane === lane) {
      this.opening = undefined;
      this.onOpenFailed("upstream-connect-failed", "the peer did not let us in");
    } else this.openForWaiting();
  }

  onFault(fault: unknown): void {
    this.observer?.onFault(fault);
  }

  onDeadline(): void {
    const now = this.timer.nowMillis;
    this.deadlineMillis = 0;
    const { opening } = this;
    if (opening !== undefined && opening.untilMillis <= now) this.giveUp(opening);
    for (let first = this.waiting[0]; first !== undefined; first = this.waiting[0]) {
      if (first.untilMillis > now) break;
      this.waiting.shift();
      first.waiter.onNoLink("upstream-pool-timeout", "no connection had room in time");
    }
    this.renewDue(now);
  }

  private renewDue(now: number): void {
    if (this.renewAtMillis <= now) {
      this.renewAtMillis = Number.POSITIVE_INFINITY;
      for (const lane of this.lanes) lane.isRetiring = true;
      // Begun before, so it may show what the renewal is to be rid of.
      if (this.opening !== undefined) this.opening.isOutdated = true;
    }
    const isSuccessorDue = this.lanes.values().some((lane) => lane.isRetiring && !lane.session.isDraining);
    if (isSuccessorDue && !this.isLeaving) this.openOne();
  }

  private openForWaiting(): void {
    if (this.waiting.length === 0) return;
    let used = 0;
    for (const { isRetiring, session } of this.lanes) if (!isRetiring && !session.isDraining) used += 1;
    if (used < this.limits.sessionsMax) this.openOne();
  }

  private openOne(): void {
    if (this.opening !== undefined || this.isClosed) return;
    this.askAgainMillis = this.timer.in(this.limits.askAgainMillis);
    const opening: Opening = {
      abort: new AbortController(),
      untilMillis: this.timer.in(this.limits.connectMillis),
      lane: undefined,
      isOutdated: false,
    };
    this.opening = opening;
    void this.connect(opening);
  }

  private async connect(opening: Opening): Promise<void> {
    const result = await this.tryOpen(opening);
    if (this.opening !== opening) {
      if (result.ok) discard(result.value.socket);
      return;
    }
    if (!result.ok) {
      this.opening = undefined;
      const detail = result.detail === "" ? result.reason : `${result.reason}: ${result.detail}`;
      return this.onOpenFailed("upstream-connect-failed", detail);
    }
    const { socket, isHttp2 } = result.value;
    if (!isHttp2) return this.useHttp1(socket);
    this.speaksHttp1 = false;
    const { timer, limits, observer } = this;
    const tokens = this.tokens?.on(socket);
    const report = observer?.onOpened();
    opening.lane = new LinkSession(socket, timer, { link: this, limits, report, tokens });
    opening.lane.isRetiring = opening.isOutdated;
    this.lanes.add(opening.lane);
    // Its close event may have passed before anybody listened.
    if (socket.destroyed) opening.lane.session.destroy();
  }

  private async tryOpen(opening: Opening): Promise<Result<OpenedLink, string>> {
    try {
      return await this.open(opening.abort.signal);
    } catch (error) {
      return { ok: false, reason: "open-failed", detail: messageOf(error) };
    }
  }

  /** The pool opens connections of its own, which offer nothing but HTTP/1.1. */
  private useHttp1(socket: Socket): void {
    const { pool } = this;
    discard(socket);
    this.opening = undefined;
    if (pool === undefined) return this.onOpenFailed("upstream-connect-failed", "the peer speaks no HTTP/2");
    this.speaksHttp1 = true;
    for (const { waiter } of this.waiting.splice(0)) waiter.onHttp1(pool);
  }

  private giveUp(opening: Opening): void {
    this.opening = undefined;
    opening.abort.abort();
    opening.lane?.session.destroy();
    this.onOpenFailed("upstream-connect-timeout", "the connection was not open in time");
  }

  /** Those who wait have had their attempt, unless a connection that is there may yet have room for them. */
  private onOpenFailed(reason: AcquireRefusal, detail: string): void {
    if (this.lanes.values().some(({ isReady, session }) => isReady && !session.isDraining)) return;
    this.refuseWaiting(reason, detail);
  }

  private refuseWaiting(reason: AcquireRefusal, detail: string): void {
    for (const { waiter } of this.waiting.splice(0)) waiter.onNoLink(reason, detail);
  }

  private serve(): void {
    for (let lane = this.ready(); lane !== undefined; lane = this.ready()) {
      const next = this.waiting.shift();
      if (next === undefined) return;
      next.waiter.onSession(lane);
    }
    this.openForWaiting();
  }
}

/** One that stays is better than one that is to be replaced, and otherwise the one with less to do. */
function isBetter(lane: LinkSession, other: LinkSession): boolean {
  return lane.isRetiring === other.isRetiring ? lane.streams < other.streams : other.isRetiring;
}

function discard(socket: Socket): void {
  socket.on("error", () => {});
  socket.destroy();
}
