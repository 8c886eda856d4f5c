import type { Socket } from "node:net";
import type { CheckedPeer } from "./check-peer.ts";

/** A connection to a checked peer. */
interface Live {
  readonly peer: CheckedPeer;
  /** When the connection is to be replaced, in seconds since 1970. */
  readonly dueSeconds: number;
  readonly expiring: ((secondsLeft: number) => void) | undefined;
  hasBeenTold: boolean;
}

/** A certificate's last part of life, in which its connections are to end; never more than half a minute. */
const expiringShare = 0.25;
const expiringSecondsMax = 30;
/**
 * The part in which they are replaced where that costs nothing: peers have renewed their certificate by then (after
 * half of its life), and what begins on a connection ends with it.
 */
const replacedShare = 0.4;

/** All connections to checked peers, so that each ends when its peer's certificate does, for whatever reason. */
export class LivePeers {
  readonly #holds: (peer: CheckedPeer) => boolean;
  readonly #live = new Map<Socket, Live>();
  readonly #byInstance = new Map<string, number>();

  /** `holds` says whether a peer that was checked is one by the trust log of now. */
  constructor(holds: (peer: CheckedPeer) => boolean) {
    this.#holds = holds;
  }

  /** How many connections there are. */
  get size(): number {
    return this.#live.size;
  }

  /** How many of them are with this instance. */
  countOf(instance: string): number {
    return this.#byInstance.get(instance) ?? 0;
  }

  /**
   * Watches a connection until it closes. False where it is over already: it has closed, or the log has dropped the
   * peer, since the check. `expiring` is called once, in time for the connection to be replaced without loss; that is
   * early where it `isReplaceable` by us.
   */
  add(
    socket: Socket,
    live: {
      readonly peer: CheckedPeer;
      readonly nowSeconds: number;
      readonly expiring?: (secondsLeft: number) => void;
      readonly isReplaceable?: boolean;
    },
  ): boolean {
    const { peer, nowSeconds, expiring, isReplaceable = false } = live;
    if (socket.destroyed || !this.#holds(peer)) {
      socket.destroy();
      return false;
    }
    this.#live.set(socket, {
      peer,
      expiring,
      dueSeconds: dueSecondsOf(peer, nowSeconds, isReplaceable),
      hasBeenTold: false,
    });
    this.#byInstance.set(peer.instance, this.countOf(peer.instance) + 1);
    socket.once("close", () => this.#remove(socket, peer));
    return true;
  }

  /** Breaks the connections whose peer no longer is one by the trust log; says how many there were. */
  closeDropped(): number {
    let closed = 0;
    for (const [socket, { peer }] of this.#live) {
      if (socket.destroyed || this.#holds(peer)) continue;
      socket.destroy();
      closed += 1;
    }
    return closed;
  }

  /** Breaks all connections, since this proxy is nobody any more; says how many there were. */
  closeAll(): number {
    const closed = this.#live.size;
    for (const socket of this.#live.keys()) socket.destroy();
    return closed;
  }

  /** Breaks what has expired, and tells what will soon. */
  expire(nowSeconds: number): void {
    for (const [socket, live] of this.#live) {
      // notAfter is the last valid second as a whole (RFC 5280 section 4.1.2.5).
      if (nowSeconds >= live.peer.svid.notAfterSeconds + 1) socket.destroy();
      else if (nowSeconds >= live.dueSeconds && !live.hasBeenTold) {
        live.hasBeenTold = true;
        live.expiring?.(live.peer.svid.notAfterSeconds - nowSeconds);
      }
    }
  }

  #remove(socket: Socket, { instance }: CheckedPeer): void {
    this.#live.delete(socket);
    const left = this.countOf(instance) - 1;
    if (left > 0) this.#byInstance.set(instance, left);
    else this.#byInstance.delete(instance);
  }
}

/** A connection that begins within the margin is replaced after half of what is left: the peer may renew at any time. */
function dueSecondsOf({ svid }: CheckedPeer, nowSeconds: number, isReplaceable: boolean): number {
  const { notBeforeSeconds, notAfterSeconds } = svid;
  const lifeSeconds = notAfterSeconds - notBeforeSeconds;
  const margin = isReplaceable
    ? lifeSeconds * replacedShare
    : Math.min(expiringSecondsMax, lifeSeconds * expiringShare);
  return Math.max(notAfterSeconds - margin, (nowSeconds + notAfterSeconds) / 2);
}
