import http from "node:http";
import { connect, type Socket } from "node:net";
import { Duplex } from "node:stream";
import type { ReadResponse } from "./go-http1-reader.ts";
import { fieldsOf } from "./http1-reading.ts";

/** A response as llhttp took it, or how it broke. */
export type LlhttpAnswer = ReadResponse | { readonly brokenBy: string };

/** A request to send. */
export interface LlhttpCall {
  readonly method: string;
  readonly target: string;
  readonly host: string;
  readonly body?: string;
}

/** The bytes that one connection got, and the methods of the requests that were sent on it. */
export interface Tape {
  readonly methods: string[];
  readonly bytes: () => Buffer;
}

const waitMillisMax = 5_000;

/** A client that is `node:http`, with one connection at a time, which keeps every byte that it gets. */
export class LlhttpClient implements Disposable {
  readonly tapes: Tape[] = [];
  readonly #port: number;
  readonly #agent: http.Agent;

  constructor(address: string) {
    this.#port = Number(address.split(":")[1]);
    this.#agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    Object.assign(this.#agent, { createConnection: () => this.#open() });
  }

  /** Sends a request and reads its response. Never throws. */
  async call({ method, target, host, body = "" }: LlhttpCall): Promise<LlhttpAnswer> {
    const headers = { host, ...(body === "" ? {} : { "content-length": body.length }) };
    return new Promise((resolve) => {
      const request = http.request({ agent: this.#agent, method, path: target, headers, host: "127.0.0.1" });
      const timer = setTimeout(() => request.destroy(new Error("no answer in time")), waitMillisMax);
      const settle = (answer: LlhttpAnswer): void => {
        clearTimeout(timer);
        resolve(answer);
      };
      request.on("socket", () => this.tapes.at(-1)?.methods.push(method));
      request.on("error", (error) => settle({ brokenBy: error.message }));
      request.on("upgrade", () => settle({ brokenBy: "upgraded" }));
      request.on("response", (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", (error) => settle({ brokenBy: error.message }));
        response.on("end", () =>
          settle({
            status: response.statusCode ?? 0,
            headers: fieldsOf(response.rawHeaders).filter(([name]) => !framingNames.has(name)),
            body: Buffer.concat(chunks).toString("latin1"),
            trailers: fieldsOf(response.rawTrailers),
            isWhole: response.complete,
          }),
        );
      });
      request.end(Buffer.from(body, "latin1"));
    });
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  #open(): Duplex {
    const socket = connect({ host: "127.0.0.1", port: this.#port, noDelay: true });
    const chunks: Buffer[] = [];
    this.tapes.push({ methods: [], bytes: () => Buffer.concat(chunks) });
    return new TappedSocket(socket, (chunk) => chunks.push(chunk));
  }
}

/** A socket whose bytes somebody else sees, too; what an agent asks of sockets besides, it need not do. */
class TappedSocket extends Duplex {
  readonly #socket: Socket;

  constructor(socket: Socket, onBytes: (chunk: Buffer) => void) {
    super();
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      onBytes(chunk);
      this.push(chunk);
    });
    socket.on("end", () => this.push(null));
    socket.on("error", (error) => this.destroy(error));
    socket.on("close", () => this.destroy());
  }

  setKeepAlive(): this {
    return this;
  }

  setTimeout(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.#socket.write(chunk);
    done();
  }

  override _final(done: () => void): void {
    this.#socket.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}

const framingNames = new Set(["content-length", "transfer-encoding", "trailer", "connection", "keep-alive"]);
