import type { OnReadOpts, Socket } from "node:net";

/** Who is using a connection right now; at most one request. */
export interface ConnectionUser {
  /** Bytes in `window[at, end)`. They are overwritten by the next read: copy what is kept or written. */
  onBytes(window: Buffer, at: number, end: number): void;
  /** The peer will send no more; the connection is of no further use. */
  onEnd(): void;
  /** The connection broke. */
  onBroken(detail: string): void;
  /** What was written has left; called after `write` answered false. */
  onDrain(): void;
}

/** Whom a connection goes back to. */
export interface ConnectionHome {
  onReleased(connection: UpstreamConnection): void;
  onClosed(connection: UpstreamConnection): void;
  /** It has become a tunnel, which ends with it; false where there are too many. */
  onTunnel(connection: UpstreamConnection): boolean;
}

/**
 * One connection to an upstream. It belongs to its home while idle and to one user otherwise; bytes that come while
 * nobody waits for them would be read as the answer to the next request, so they end the connection (RFC 9112, 9.2).
 */
export class UpstreamConnection {
  readonly socket: Socket;
  /** Requests given to it so far. */
  uses = 0;
  /** Set by the home when it became idle; milliseconds on the home's clock. */
  idleSinceMillis = 0;
  /** When, on the pool's timer, it is not to be lent any more. */
  retireAtMillis = Number.POSITIVE_INFINITY;
  /** Whether it is not read from, as its user asked. */
  isPaused = false;
  private readonly home: ConnectionHome;
  private user: ConnectionUser | undefined;
  private isClosed = false;
  private failure = "closed by the peer";

  constructor(socket: Socket, home: ConnectionHome) {
    this.socket = socket;
    this.home = home;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.onRead(chunk, 0, chunk.length));
    socket.on("drain", () => this.user?.onDrain());
    socket.on("end", () => this.onEnd());
    socket.on("error", (error) => {
      this.failure = error.message;
    });
    socket.on("close", () => this.onClose());
  }

  /** Whether it has carried a request before the one it is given to now. */
  get isReused(): boolean {
    return this.uses > 1;
  }

  /** Gives it to a user. */
  lend(user: ConnectionUser): void {
    this.uses += 1;
    this.user = user;
  }

  /** Sends bytes that will not change any more; false asks to wait for `onDrain`. */
  write(bytes: Uint8Array): boolean {
    return this.socket.write(bytes);
  }

  /** Makes it a tunnel, in which either side may go on after the other's end; false where there are too many. */
  becomeTunnel(): boolean {
    this.socket.allowHalfOpen = true;
    return this.home.onTunnel(this);
  }

  /** Sends no more; `flushed` is called once the peer has all of it. */
  end(flushed: () => void): void {
    this.socket.end(flushed);
  }

  /** Reads no further until {@link resume}. */
  pause(): void {
    if (this.isPaused) return;
    this.isPaused = true;
    this.socket.pause();
  }

  /** Reads again. */
  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    this.socket.resume();
  }

  /** Gives it back after a response that ended where it should. */
  release(): void {
    this.user = undefined;
    if (this.isClosed) return;
    // A peer that has answered without reading to the end might never read what would follow.
    if (this.socket.writableLength > 0) return this.destroy();
    this.resume();
    this.home.onReleased(this);
  }

  /** Ends it without ceremony; the user hears nothing more. */
  destroy(): void {
    this.user = undefined;
    this.socket.destroy();
    this.leave();
  }

  /** Breaks it and tells its user: the peer may no longer be talked to. */
  revoke(): void {
    this.failure = "no longer permitted";
    this.socket.destroy();
    this.onClose();
  }

  /** Takes bytes that were read, wherever they were read into. */
  onRead(window: Buffer, at: number, end: number): void {
    if (this.user === undefined) this.destroy();
    else this.user.onBytes(window, at, end);
  }

  private onEnd(): void {
    if (this.user === undefined) this.destroy();
    else this.user.onEnd();
  }

  private onClose(): void {
    const { user } = this;
    this.user = undefined;
    this.leave();
    user?.onBroken(this.failure);
  }

  private leave(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.home.onClosed(this);
  }
}

/**
 * What a socket is opened with so that it reads into one buffer of its own instead of a new one for every read
 * (`onread` of net.connect and tls.connect). Bytes that come before the connection is attached are unsolicited.
 */
export class ReadPort {
  readonly onread: OnReadOpts;
  /** Whether the peer spoke before it was asked anything. */
  spokeEarly = false;
  private connection: UpstreamConnection | undefined;

  constructor(bufferBytes: number) {
    const buffer = Buffer.allocUnsafeSlow(bufferBytes);
    this.onread = {
      buffer,
      callback: (bytesRead) => {
        if (this.connection === undefined) this.spokeEarly = true;
        else this.connection.onRead(buffer, 0, bytesRead);
        return true;
      },
    };
  }

  /** Passes what is read from now on to a connection. */
  attach(connection: UpstreamConnection): void {
    this.connection = connection;
  }
}
