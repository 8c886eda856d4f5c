import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { buildGoPeer } from "./go-peer.ts";
import type { Field, ReadRequest, RequestsRead } from "./http1-reading.ts";

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
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #waiting: ((line: string) => void)[] = [];
  readonly #ended: Promise<void>;

  private constructor(program: string) {
    this.#process = spawn(program);
    this.#process.stderr.resume();
    this.#ended = new Promise((resolve) => this.#process.once("close", () => resolve()));
    createInterface({ input: this.#process.stdout }).on("line", (line) => this.#waiting.shift()?.(line));
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

  async #ask<Answer>(job: {
    readonly bytes: Uint8Array;
    readonly methods?: readonly string[];
  }): Promise<Answer> {
    const bytes = Buffer.from(job.bytes).toString("base64");
    const line = await new Promise<string>((resolve, reject) => {
      this.#waiting.push(resolve);
      void this.#ended.then(() => reject(new Error("the Go reader has ended")));
      this.#process.stdin.write(`${JSON.stringify({ ...job, bytes })}\n`);
    });
    const answer: Answer = JSON.parse(line);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.stdin.end();
    await this.#ended;
  }
}

/** Go says nothing of what is empty. */
function withNothingUnsaid(read: ReadRequest): ReadRequest {
  const headers = read.headers.filter(([name]) => name !== "trailer");
  return { ...read, host: read.host ?? "", target: read.target ?? "", framing: read.framing ?? "0", headers };
}
