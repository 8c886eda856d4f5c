import { buildGoPeer } from "./go-peer.ts";
import type { Field, ReadRequest, RequestsRead } from "./http1-reading.ts";
import { LineProgram } from "./line-program.ts";

/** A response as a client takes it. */
export interface ReadResponse {
  readonly status: number;
  /** By name, without Content-Length and Transfer-Encoding. */
  readonly headers: readonly Field[];
  readonly body: string;
  readonly trailers: readonly Field[];
  readonly isWhole: boolean;
}

/** What a client finds in the bytes that it got on one connection. */
export interface ResponsesRead {
  readonly messages: readonly ReadResponse[];
  /** Whether something came that was no response to a request. */
  readonly isRefused: boolean;
}

/** Go's net/http as a reader of bytes: the program in `test/peers/http1-reader`, running. */
export class GoHttp1Reader implements AsyncDisposable {
  readonly #program: LineProgram;

  private constructor(program: string) {
    this.#program = new LineProgram(program);
  }

  /** Builds it into a folder and starts it. */
  static async open(folder: string): Promise<GoHttp1Reader> {
    return new GoHttp1Reader(await buildGoPeer("http1-reader", folder));
  }

  /** What its server reads in the bytes of one connection. */
  async requestsIn(bytes: Uint8Array): Promise<RequestsRead> {
    const found: { messages: ReadRequest[]; isRefused: boolean } = await this.#ask({ bytes });
    return { ...found, messages: found.messages.map(withNothingUnsaid) };
  }

  /** What its client reads in the bytes that answered requests of these methods. */
  async responsesIn(bytes: Uint8Array, methods: readonly string[]): Promise<ResponsesRead> {
    return this.#ask({ bytes, methods });
  }

  #ask<Answer>(job: { readonly bytes: Uint8Array; readonly methods?: readonly string[] }): Promise<Answer> {
    return this.#program.ask({ ...job, bytes: Buffer.from(job.bytes).toString("base64") });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#program[Symbol.asyncDispose]();
  }
}

/** Go says nothing of what is empty. */
function withNothingUnsaid(read: ReadRequest): ReadRequest {
  const headers = read.headers.filter(([name]) => name !== "trailer");
  return { ...read, host: read.host ?? "", target: read.target ?? "", framing: read.framing ?? "0", headers };
}
