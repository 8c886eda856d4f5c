import net from "node:net";

const loopback = "127.0.0.1";

/**
 * A port on loopback that its holder binds and a child listens on, by the inherited descriptor. While the child is dead
 * the kernel keeps new connections, as many as the backlog that the child asked for, and the next child takes them: no
 * connection is refused because a process is started again.
 */
export class HeldPort implements Disposable {
  readonly port: number;
  #bound: net.BoundSocket | undefined;

  private constructor(port: number) {
    this.port = port;
  }

  /** Holds a port, or answers undefined where this Node.js or platform cannot; throws `EADDRINUSE` where another process has it. */
  static open(port: number): HeldPort | undefined {
    const held = new HeldPort(port);
    return held.descriptor === undefined ? undefined : held;
  }

  /** What a child inherits; bound anew after a release. Throws `EADDRINUSE` where another process has the port by now. */
  get descriptor(): number | undefined {
    // Node.js 24 does not have it in its first versions, and Windows has no descriptors for sockets.
    if (!("BoundSocket" in net)) return undefined;
    this.#bound ??= new net.BoundSocket({ host: loopback, port: this.port });
    const descriptor = this.#bound.fd();
    return descriptor < 0 ? undefined : descriptor;
  }

  /** Resets the connections that wait and refuses new ones until {@link descriptor} is asked for again. */
  release(): void {
    this.#bound?.close();
    this.#bound = undefined;
  }

  [Symbol.dispose](): void {
    this.release();
  }
}
