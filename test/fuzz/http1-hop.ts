import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type OnReadOpts, type Server, type Socket } from "node:net";
import { CoarseTimer } from "../../src/data-plane/coarse-timer.ts";
import {
  type CompletedRequest,
  ConnectionPool,
  defaultPoolLimits,
  type Http1Connection,
  type OpenConnection,
  openTcp,
  type PoolLimits,
  type RequestHead,
  serveHttp1,
  type Verdict,
} from "../../src/data-plane/forwarding/index.ts";
import {
  defaultHttp1Limits,
  type Http1Limits,
  headerLines,
  type Tunnel,
} from "../../src/data-plane/http1/index.ts";
import { type FakeClock, fakeClock } from "../fakes/fake-clock.ts";

/** One proxy between a client and an upstream, whose time stands still until it is moved. */
export interface Hop extends AsyncDisposable {
  readonly port: number;
  readonly pool: ConnectionPool;
  readonly events: CompletedRequest[];
  readonly faults: unknown[];
  readonly connections: Http1Connection[];
  /** Sockets of the clients as the proxy sees them. */
  readonly clientSockets: Socket[];
  /** Sockets to the upstream as the proxy sees them. */
  readonly upstreamSockets: Socket[];
  /** Moves time and lets every deadline see it. */
  passSeconds(seconds: number): void;
}

/** What a test changes about the proxy. */
export interface HopOptions {
  readonly decide?: (request: RequestHead, forward: Verdict) => Verdict | Promise<Verdict>;
  readonly limits?: Partial<Http1Limits>;
  readonly poolLimits?: Partial<PoolLimits>;
  /** What tunnels the proxy takes. */
  readonly tunnels?: readonly Tunnel[];
  readonly open?: OpenConnection;
}

/** Opens a proxy that forwards everything to a port, unless `decide` says otherwise. */
export async function openHop(upstreamPort: number, options: HopOptions = {}): Promise<Hop> {
  const clock: FakeClock = fakeClock();
  const timer = new CoarseTimer(clock);
  const upstreamSockets: Socket[] = [];
  const open = watched(
    poisoned(options.open ?? openTcp({ host: "127.0.0.1", port: upstreamPort })),
    upstreamSockets,
  );
  const pool = new ConnectionPool(open, { ...defaultPoolLimits, ...options.poolLimits }, timer);
  const forward: Verdict = { kind: "forward", upstream: pool, edits: { remove: ["x-removed"], add: added } };
  const events: CompletedRequest[] = [];
  const faults: unknown[] = [];
  const connections: Http1Connection[] = [];
  const clientSockets: Socket[] = [];
  const server = createServer((socket) => {
    clientSockets.push(socket);
    connections.push(
      serveHttp1(socket, {
        timer,
        tunnels: { kinds: options.tunnels ?? [], randomBytes: (bytes) => randomBytes(bytes) },
        limits: { ...defaultHttp1Limits, ...options.limits },
        decide: (request) => options.decide?.(request, forward) ?? forward,
        onComplete: (event) => events.push(event),
        onFault: (fault) => faults.push(fault),
      }),
    );
  });
  const port = await listen(server);
  return {
    port,
    pool,
    events,
    faults,
    connections,
    clientSockets,
    upstreamSockets,
    passSeconds: (seconds) => {
      clock.advanceSeconds(seconds);
      timer.tick();
    },
    [Symbol.asyncDispose]: async () => {
      for (const connection of connections) connection.destroy();
      pool.close();
      await closed(server);
    },
  };
}

/** What the proxy adds to every request. */
const added = headerLines([["X-Added", "by-the-proxy"]]);

/** Overwrites what was read as soon as the reader returns, so that whoever kept the bytes without a copy is caught. */
export function poisoned(open: OpenConnection): OpenConnection {
  return async (onread, signal) => {
    const poisoning: OnReadOpts = {
      buffer: onread.buffer,
      callback: (bytesRead, buffer) => {
        const goesOn = onread.callback(bytesRead, buffer);
        buffer.fill(0x21, 0, bytesRead);
        return goesOn;
      },
    };
    return open(poisoning, signal);
  };
}

function watched(open: OpenConnection, sockets: Socket[]): OpenConnection {
  return async (onread, signal) => {
    const result = await open(onread, signal);
    if (result.ok) sockets.push(result.value);
    return result;
  };
}

/** An upstream that is a script over its sockets. */
export interface RawUpstream extends AsyncDisposable {
  readonly port: number;
  readonly sockets: Socket[];
  /** All that came, per connection, as Latin-1 text. */
  readonly received: string[];
}

/** Opens an upstream; `onText` is called with what one connection has sent so far. */
export async function openUpstream(
  onText: (socket: Socket, text: string, index: number) => void,
): Promise<RawUpstream> {
  const sockets: Socket[] = [];
  const received: string[] = [];
  const server = createServer((socket) => {
    const index = sockets.push(socket) - 1;
    received.push("");
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      received[index] += chunk.toString("latin1");
      onText(socket, received[index] ?? "", index);
    });
  });
  const port = await listen(server);
  return {
    port,
    sockets,
    received,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await closed(server);
    },
  };
}

/** A client that sends the bytes it is told to. */
export class RawClient implements Disposable {
  readonly socket: Socket;
  /** All that came, as Latin-1 text. */
  text = "";
  /** Whether the proxy has ended its side. */
  hasEnded = false;
  isClosed = false;
  errorCode: string | undefined;

  constructor(port: number) {
    this.socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    this.socket.on("data", (chunk) => {
      this.text += chunk.toString("latin1");
    });
    this.socket.on("end", () => {
      this.hasEnded = true;
    });
    this.socket.on("error", (error) => {
      this.errorCode = "code" in error ? String(error.code) : error.message;
    });
    this.socket.on("close", () => {
      this.isClosed = true;
    });
  }

  send(text: string): this {
    this.socket.write(Buffer.from(text, "latin1"));
    return this;
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

/** Waits until something is so; fails after five seconds. */
export async function until(isSo: () => boolean, what = "what was waited for"): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error(`${what} did not happen: ${String(isSo)}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Waits as long as bytes need on this machine, so that what should not happen has had its chance. */
export async function aWhile(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 30));
}

/** Listens on a port of loopback. */
export async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return isAddress(address) ? address.port : 0;
}

function isAddress(address: string | AddressInfo | null): address is AddressInfo {
  return typeof address === "object" && address !== null;
}

/** Closes a server whose connections end by themselves. */
export async function closed(server: Server): Promise<void> {
  await new Promise((resolve) => server.close(resolve));
}
