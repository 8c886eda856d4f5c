import type { Socket } from "node:net";

/**
 * The connections whose handshake has not ended, by source. One too many ends the oldest of the same source: an honest
 * handshake takes milliseconds, so what is old there is somebody who holds places. Loopback is one source for all
 * processes of a machine, which is why nobody is turned away for what a neighbour does.
 */
export class HalfOpen {
  readonly #bySource = new Map<string, Map<string, Socket>>();
  readonly #perSourceMax: number;

  /** `perSourceMax` connections of one source may be in their handshake at once. */
  constructor(perSourceMax: number) {
    this.#perSourceMax = perSourceMax;
  }

  /** Notes a connection that has just been taken. */
  add(socket: Socket): void {
    const source = sourceOf(socket);
    const name = nameOf(socket);
    const sockets = this.#bySource.get(source) ?? new Map<string, Socket>();
    this.#bySource.set(source, sockets);
    sockets.set(name, socket);
    socket.once("close", () => this.#forget(source, name));
    if (sockets.size <= this.#perSourceMax) return;
    for (const [oldest, held] of sockets.entries().take(1)) {
      this.#forget(source, oldest);
      held.destroy();
    }
  }

  /** Notes that a handshake has ended well; `socket` may be the TLS socket over the one that was added. */
  settle(socket: Socket): void {
    this.#forget(sourceOf(socket), nameOf(socket));
  }

  #forget(source: string, name: string): void {
    const sockets = this.#bySource.get(source);
    sockets?.delete(name);
    if (sockets?.size === 0) this.#bySource.delete(source);
  }
}

/** An address, or the /64 of an IPv6 one, which one machine has to itself; all of loopback is one. */
export function sourceOf({ remoteAddress = "" }: Socket): string {
  if (!remoteAddress.includes(":")) return remoteAddress.startsWith("127.") ? "loopback" : remoteAddress;
  if (remoteAddress === "::1" || remoteAddress.startsWith("::ffff:127.")) return "loopback";
  const mapped = /^::ffff:([0-9.]+)$/.exec(remoteAddress)?.[1];
  return mapped ?? `${remoteAddress.split(":").slice(0, 4).join(":")}::/64`;
}

function nameOf({ remoteAddress = "", remotePort = 0 }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
