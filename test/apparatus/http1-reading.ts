import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Duplex } from "node:stream";

/** A header line or trailer: the name in small letters, the value in Latin-1. */
export type Field = readonly [name: string, value: string];

/** A request as one reader of HTTP/1 takes it. */
export interface ReadRequest {
  readonly method: string;
  readonly target: string;
  readonly host: string;
  /** `chunked`, or the number of bytes that were announced. */
  readonly framing: string;
  /** By name, without Host, Trailer and what the framing says already. */
  readonly headers: readonly Field[];
  /** In Latin-1. */
  readonly body: string;
  readonly trailers: readonly Field[];
  /** Whether its end came. */
  readonly isWhole: boolean;
}

/** What a reader finds in the bytes of one connection. */
export interface RequestsRead {
  readonly messages: readonly ReadRequest[];
  /** Whether something came that was no HTTP/1 to this reader. */
  readonly isRefused: boolean;
}

/** Whoever wants to know of what llhttp reads, as it does. */
export interface LlhttpListener {
  /** A head has come; the body follows. */
  readonly onHead: (place: number) => void;
  /** The request is whole. */
  readonly onWhole: (place: number, response: ServerResponse) => void;
  /** Bytes for the client. */
  readonly onOutput: (bytes: Buffer) => void;
  /** It wants no more of this connection. */
  readonly onGone: () => void;
}

/** One connection as `node:http` reads it, which is llhttp in its strict mode; the bytes are pushed by hand. */
export class LlhttpConnection implements RequestsRead {
  readonly messages: ReadRequest[] = [];
  isRefused = false;
  readonly #pipe: Duplex;

  constructor(listener: LlhttpListener) {
    const server = createServer({ keepAliveTimeout: 0, maxHeaderSize: 1 << 17, insecureHTTPParser: false });
    server.maxHeadersCount = 0;
    this.#pipe = new Duplex({
      read: () => {},
      write: (bytes: Buffer, _, done) => {
        listener.onOutput(bytes);
        done();
      },
      final: (done) => {
        listener.onGone();
        done();
      },
    });
    this.#pipe.on("error", () => {});
    this.#pipe.on("close", listener.onGone);
    this.#serve(server, listener);
    server.emit("connection", this.#pipe);
  }

  /** Takes bytes that came. */
  push(bytes: Uint8Array): void {
    if (!this.#pipe.destroyed) this.#pipe.push(Buffer.from(bytes));
  }

  /** Nothing more will come. */
  end(): void {
    if (!this.#pipe.destroyed) this.#pipe.push(null);
  }

  #serve(server: Server, { onHead, onWhole }: LlhttpListener): void {
    const onRequest = (incoming: IncomingMessage, response: ServerResponse): void => {
      const chunks: Buffer[] = [];
      const place = this.messages.push(readOf(incoming, chunks, false)) - 1;
      onHead(place);
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("error", () => {});
      incoming.on("end", () => {
        this.messages[place] = readOf(incoming, chunks, true);
        onWhole(place, response);
      });
    };
    server.on("request", onRequest);
    server.on("checkContinue", (incoming: IncomingMessage, response: ServerResponse) => {
      response.writeContinue();
      onRequest(incoming, response);
    });
    server.on("checkExpectation", onRequest);
    for (const event of ["connect", "upgrade"])
      server.on(event, (incoming: IncomingMessage) => {
        this.messages.push(readOf(incoming, [], true));
        this.#pipe.destroy();
      });
    server.on("clientError", (error: Error & { code?: string }) => {
      // A connection that ends inside a message is cut, not wrong.
      if (error.code !== "ECONNRESET" && error.code !== "HPE_INVALID_EOF_STATE") this.isRefused = true;
      this.#pipe.destroy();
    });
  }
}

/** What llhttp reads in the bytes of one connection, all of which are there. */
export async function readWithLlhttp(bytes: Uint8Array): Promise<RequestsRead> {
  return new Promise((resolve) => {
    const reader: LlhttpConnection = new LlhttpConnection({
      onHead: () => {},
      onWhole: (_, response) => response.end(),
      onOutput: () => {},
      onGone: () => setImmediate(() => resolve(reader)),
    });
    reader.push(bytes);
    reader.end();
  });
}

function readOf(incoming: IncomingMessage, chunks: readonly Buffer[], isWhole: boolean): ReadRequest {
  const { method = "", url: target = "", rawHeaders, rawTrailers } = incoming;
  const all = fieldsOf(rawHeaders);
  const valueOf = (name: string): string | undefined => all.find(([one]) => one === name)?.[1];
  return {
    method,
    target,
    host: valueOf("host") ?? "",
    framing: valueOf("transfer-encoding")?.toLowerCase() ?? valueOf("content-length") ?? "0",
    headers: all.filter(([name]) => !framingNames.has(name)),
    body: Buffer.concat(chunks).toString("latin1"),
    trailers: fieldsOf(rawTrailers),
    isWhole,
  };
}

const framingNames = new Set(["host", "content-length", "transfer-encoding", "trailer"]);

/** Names and values in turn, as Node gives them, sorted by name; lines of one name stay in their order. */
export function fieldsOf(raw: readonly string[]): Field[] {
  const fields: Field[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2)
    fields.push([(raw[index] ?? "").toLowerCase(), raw[index + 1] ?? ""]);
  return fields.toSorted(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0));
}

/** In what two readers of the same bytes do not agree; undefined where they do. */
export function disagreement(one: RequestsRead, other: RequestsRead): string | undefined {
  if (one.isRefused !== other.isRefused)
    return `one refuses: ${String(one.isRefused)}, ${String(other.isRefused)}`;
  if (one.messages.length !== other.messages.length)
    return `${one.messages.length} requests, ${other.messages.length} requests`;
  for (const [place, left] of one.messages.entries()) {
    const right = other.messages[place];
    const texts = [JSON.stringify(inOrder(left)), JSON.stringify(right && inOrder(right))];
    if (texts[0] !== texts[1]) return `request ${place}: ${texts.join(" | ")}`;
  }
  return undefined;
}

function inOrder(read: ReadRequest): readonly unknown[] {
  const { method, target, host, framing, headers, body, trailers, isWhole } = read;
  // Of what was cut, one reader may know more than the other.
  return isWhole
    ? [method, target, host, framing, headers, body, trailers]
    : [method, target, host, framing, headers];
}
