import type { Socket } from "node:net";
import type { CheckedPeer } from "./check-peer.ts";

/** A connection to a checked peer. */
interface Live {
  readonly peer: CheckedPeer;
  readonly openedSeconds: number;
  /** Called once when the peer's certificate will soon end, so that the connection can be replaced without loss. */
  readonly expiring: (() => void) | undefined;
  hasBeenTold: boolean;
}

/** A certificate's last part of life, in which its connections are replaced; never more than half a minute. */
const expiringShare = 0.25;
const expiringSecondsMax = 30;

/** All connections to checked peers, so that each ends when its peer's certificate does, for whatever reason. */
export class LivePeers {
  readonly #live = new Map<Socket, Live>();

  /** How many connections there are. */
  get size(): number {
    return this.#live.size;
  }

  /** Watches a connection until it closes. */
  add(
    socket: Socket,
    live: { readonly peer: CheckedPeer; readonly nowSeconds: number; readonly expiring?: () => void },
  ): void {
    this.#live.set(socket, {
      peer: live.peer,
      openedSeconds: live.nowSeconds,
      expiring: live.expiring,
      hasBeenTold: false,
    });
    socket.once("close", () => this.#live.delete(socket));
  }

  /** Breaks the connections whose peer the log no longer names; says how many there were. */
  closeUnnamed(isNamed: (certificateSha256: string) => boolean): number {
    let closed = 0;
    for (const [socket, { peer }] of this.#live) {
      if (isNamed(peer.svid.sha256)) continue;
      socket.destroy();
      closed += 1;
    }
    return closed;
  }

  /** Breaks what has expired, and tells what will soon. */
  expire(nowSeconds: number): void {
    for (const [socket, live] of this.#live) {
      const { notBeforeSeconds, notAfterSeconds } = live.peer.svid;
      if (nowSeconds > notAfterSeconds) {
        socket.destroy();
        continue;
      }
      const margin = Math.min(expiringSecondsMax, (notAfterSeconds - notBeforeSeconds) * expiringShare);
      // A connection that began within the margin would only be replaced by another such one.
      const isDue = nowSeconds > notAfterSeconds - margin && live.openedSeconds <= notAfterSeconds - margin;
      if (!isDue || live.hasBeenTold) continue;
      live.hasBeenTold = true;
      live.expiring?.();
    }
  }
}
