import { readFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";

/** What a path does to the connections through it. */
export const pathFaults = ["stops reading", "stops within a record", "loses everything", "vanishes"] as const;

/** One of them. */
export type PathFault = (typeof pathFaults)[number];

/** Which side of a path is told nothing: whoever connects, or the listener. */
type WatchedSide = "client" | "listener";

/**
 * The network before a listener. On a bad day, and without a word to the watched side, the other side stops reading; or
 * stops within a record of TLS; or every packet is lost in both directions; or its machine is gone.
 */
export class BrokenPath implements AsyncDisposable {
  /** host:port for those who connect. */
  readonly address: string;
  readonly #server: Server;
  readonly #crossings = new Set<Crossing>();
  #fault: PathFault | undefined;
  #opened = 0;

  private constructor(
    server: Server,
    to: { readonly host: string; readonly port: number },
    watched: WatchedSide,
  ) {
    const bound = server.address();
    this.address = `127.0.0.1:${typeof bound === "object" && bound !== null ? bound.port : 0}`;
    this.#server = server;
    server.on("connection", (client) => {
      const listener = connect(to);
      const crossing = watched === "client" ? new Crossing(client, listener) : new Crossing(listener, client);
      this.#opened += 1;
      this.#crossings.add(crossing);
      crossing.onClosed(() => this.#crossings.delete(crossing));
      if (this.#fault !== undefined) crossing.break(this.#fault);
    });
  }

  /** Opens a path to `host:port`; without a fault it passes everything on. */
  static async open(to: string, watched: WatchedSide = "client"): Promise<BrokenPath> {
    const [host = "", port = ""] = to.split(":");
    const server = createServer();
    await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
    return new BrokenPath(server, { host, port: Number(port) }, watched);
  }

  /** Breaks the connections there are, and those that come until {@link mend}. */
  break(fault: PathFault): void {
    this.#fault = fault;
    for (const crossing of this.#crossings) crossing.break(fault);
  }

  /** Whether the watched side has ended all that was opened. */
  get isLeft(): boolean {
    return this.#opened > 0 && ![...this.#crossings].some((crossing) => crossing.isHeld());
  }

  /** Passes on the connections that come from now on; broken ones stay broken. */
  mend(): void {
    this.#fault = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const crossing of this.#crossings) crossing.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** One connection through a path. */
class Crossing {
  readonly #watched: Socket;
  readonly #other: Socket;
  #fault: PathFault | undefined;
  #isWithinRecord = false;

  constructor(watched: Socket, other: Socket) {
    this.#watched = watched;
    this.#other = other;
    watched.on("error", () => {});
    other.on("error", () => {});
    watched.on("data", (chunk: Buffer) => this.#outwards(chunk));
    other.on("data", (chunk: Buffer) => this.#inwards(chunk));
    watched.once("close", () => other.destroy());
    other.once("close", () => {
      if (this.#fault === undefined) watched.destroySoon();
    });
  }

  /** Whether the watched side has not ended it; who does not read would not hear of that. */
  isHeld(): boolean {
    const { localPort, remotePort, destroyed } = this.#watched;
    if (destroyed || localPort === undefined || remotePort === undefined) return false;
    const row = ` 0100007F:${hexOfPort(localPort)} 0100007F:${hexOfPort(remotePort)} ${established} `;
    return readFileSync("/proc/net/tcp", "utf8").includes(row);
  }

  /** Calls back once it is over and known to be. */
  onClosed(callback: () => void): void {
    this.#watched.once("close", callback);
  }

  break(fault: PathFault): void {
    if (this.#fault !== undefined) return;
    this.#fault = fault;
    // The kernel takes what it has room for, as that of a program that is busy with other things.
    if (fault === "stops reading") this.#watched.pause();
    else this.#watched.resume();
    if (fault === "vanishes") this.#other.destroy();
  }

  destroy(): void {
    this.#watched.destroy();
    this.#other.destroy();
  }

  #outwards(chunk: Buffer): void {
    if (this.#fault !== undefined || this.#other.write(chunk)) return;
    this.#watched.pause();
    this.#other.once("drain", () => {
      if (this.#fault !== "stops reading") this.#watched.resume();
    });
  }

  #inwards(chunk: Buffer): void {
    const isPassing = this.#fault === undefined || this.#fault === "stops reading";
    if (isPassing) this.#watched.write(chunk);
    if (this.#fault !== "stops within a record" || this.#isWithinRecord) return;
    this.#isWithinRecord = true;
    this.#watched.write(chunk.subarray(0, Math.max(1, chunk.length >> 1)));
  }
}

const established = "01";

function hexOfPort(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, "0");
}
