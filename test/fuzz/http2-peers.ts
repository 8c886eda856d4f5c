import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { CoarseTimer } from "../../src/data-plane/coarse-timer.ts";
import {
  attachSocket,
  ClientSession,
  defaultHttp2Limits,
  type HeaderField,
  type Http2Limits,
  type Http2RequestHead,
  type Http2ResponseHead,
  type Http2Stream,
  headerField,
  type ResponseHandler,
  ServerSession,
  type StreamHandler,
} from "../../src/data-plane/http2/index.ts";

const clock = { nowSeconds: () => Date.now() / 1000, monotonicMillis: () => performance.now() };

/** Header fields from pairs of names and values. */
export function fieldsOf(...pairs: readonly (readonly [string, string])[]): readonly HeaderField[] {
  return pairs.map(([name, value]) => headerField(name, value));
}

/** What a server of ours has been told of one request. */
export interface SeenRequest {
  readonly head: Http2RequestHead;
  body: string;
  trailers: readonly HeaderField[] | undefined;
  outcome: "open" | "complete" | "reset";
}

/** Answers every request with its own body, or `body` where there is none, and with its own trailers. */
export class Echo implements StreamHandler {
  readonly seen: SeenRequest;
  private readonly stream: Http2Stream;
  private readonly chunks: Buffer[] = [];
  private readonly body: string;
  private rest: Buffer = Buffer.alloc(0);

  constructor(stream: Http2Stream, head: Http2RequestHead, body = "hello") {
    this.stream = stream;
    this.body = body;
    this.seen = { head, body: "", trailers: undefined, outcome: "open" };
  }

  onData(window: Buffer, start: number, end: number): void {
    this.chunks.push(Buffer.from(window.subarray(start, end)));
    this.stream.consume(end - start);
  }

  onEnd(trailers: readonly HeaderField[] | undefined): void {
    const received = Buffer.concat(this.chunks);
    this.seen.body = received.toString("latin1");
    this.seen.trailers = trailers;
    this.seen.outcome = "complete";
    this.rest = received.length === 0 ? Buffer.from(this.body) : received;
    const isHead = this.seen.head.method === "HEAD";
    const length = ["content-length", String(this.rest.length)] as const;
    this.stream.sendHead(fieldsOf([":status", "200"], length), isHead);
    if (!isHead) this.onWritable();
  }

  onWritable(): void {
    const { trailers } = this.seen;
    const taken = this.stream.sendData(this.rest, 0, this.rest.length, trailers === undefined);
    this.rest = this.rest.subarray(taken);
    if (this.rest.length === 0 && trailers !== undefined) this.stream.sendTrailers(trailers);
  }

  onReset(): void {
    this.seen.outcome = "reset";
  }

  onDeadline(): void {}
}

/** A server of ours over TCP that echoes. */
export interface EchoServer extends AsyncDisposable {
  readonly port: number;
  readonly sessions: ServerSession[];
  readonly seen: SeenRequest[];
  readonly faults: unknown[];
}

/** Opens one on a port of loopback. */
export async function openEchoServer(limits: Partial<Http2Limits> = {}): Promise<EchoServer> {
  const timer = new CoarseTimer(clock).start();
  const sockets = new Set<Socket>();
  const seen: SeenRequest[] = [];
  const sessions: ServerSession[] = [];
  const faults: unknown[] = [];
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket.once("close", () => sockets.delete(socket)));
    const owner = {
      onRequest: (stream: Http2Stream, head: Http2RequestHead) => {
        const echo = new Echo(stream, head);
        seen.push(echo.seen);
        return echo;
      },
    };
    const session = new ServerSession(owner, {
      transport: socket,
      timer,
      schedule: setImmediate,
      limits: { ...defaultHttp2Limits, ...limits },
      onFault: (fault) => faults.push(fault),
    });
    sessions.push(session);
    attachSocket(socket, session);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    sessions,
    seen,
    faults,
    [Symbol.asyncDispose]: async () => {
      timer[Symbol.dispose]();
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}

/** What came of a request that a client of ours sent. */
export interface Outcome {
  status: number;
  fields: readonly HeaderField[];
  body: string;
  trailers: readonly HeaderField[] | undefined;
  /** The code of a reset, where it ended so. */
  reset: number | undefined;
}

/** A client of ours over TCP. */
export interface Client extends Disposable {
  readonly session: ClientSession;
  /** Sends one request and answers when it is over. */
  readonly ask: (
    fields: readonly HeaderField[],
    body?: string,
    trailers?: readonly HeaderField[],
  ) => Promise<Outcome>;
}

/** Connects to a port of loopback. */
export async function openClient(port: number, limits: Partial<Http2Limits> = {}): Promise<Client> {
  const timer = new CoarseTimer(clock).start();
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  socket.setNoDelay(true);
  const session = new ClientSession(
    {},
    { transport: socket, timer, schedule: setImmediate, limits: { ...defaultHttp2Limits, ...limits } },
  );
  attachSocket(socket, session);
  return {
    session,
    ask: async (fields, body = "", trailers) =>
      new Promise((resolve, reject) => {
        const asking = new Asking(Buffer.from(body, "latin1"), trailers, resolve);
        const stream = session.open(fields, body === "" && trailers === undefined, asking);
        if (stream === undefined) reject(new Error("no room for a stream"));
        else asking.begin(stream, body !== "" || trailers !== undefined);
      }),
    [Symbol.dispose]: () => {
      session.destroy();
      timer[Symbol.dispose]();
    },
  };
}

class Asking implements ResponseHandler {
  private readonly outcome: Outcome = {
    status: 0,
    fields: [],
    body: "",
    trailers: undefined,
    reset: undefined,
  };
  private readonly chunks: Buffer[] = [];
  private readonly trailers: readonly HeaderField[] | undefined;
  private readonly done: (outcome: Outcome) => void;
  private rest: Buffer;
  private stream: Http2Stream | undefined;
  private hasMore = false;

  constructor(body: Buffer, trailers: readonly HeaderField[] | undefined, done: (outcome: Outcome) => void) {
    this.rest = body;
    this.trailers = trailers;
    this.done = done;
  }

  begin(stream: Http2Stream, hasMore: boolean): void {
    this.stream = stream;
    this.hasMore = hasMore;
    this.onWritable();
  }

  onWritable(): void {
    const { stream } = this;
    if (stream === undefined || !this.hasMore) return;
    const taken =
      this.rest.length === 0
        ? 0
        : stream.sendData(this.rest, 0, this.rest.length, this.trailers === undefined);
    this.rest = this.rest.subarray(taken);
    this.hasMore = this.rest.length > 0;
    if (!this.hasMore && this.trailers !== undefined) stream.sendTrailers(this.trailers);
  }

  onInterim(): void {}

  onResponse(head: Http2ResponseHead): void {
    this.outcome.status = head.status;
    this.outcome.fields = head.fields;
  }

  onData(window: Buffer, start: number, end: number): void {
    this.chunks.push(Buffer.from(window.subarray(start, end)));
    this.stream?.consume(end - start);
  }

  onEnd(trailers: readonly HeaderField[] | undefined): void {
    this.outcome.trailers = trailers;
    this.finish();
  }

  onReset(code: number): void {
    this.outcome.reset = code;
    this.finish();
  }

  onDeadline(): void {}

  private finish(): void {
    this.outcome.body = Buffer.concat(this.chunks).toString("latin1");
    this.done(this.outcome);
  }
}
