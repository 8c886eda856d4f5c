import type http2 from "node:http2";
import {
  create,
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { framed, grpcContentType, prefixBytes } from "./grpc-message.ts";

const requestBytesMax = 4 * 1024 * 1024;
const head = { ":status": 200, "content-type": grpcContentType } as const;
const okTrailers = { "grpc-status": "0" } as const;

type Answer = (stream: http2.ServerHttp2Stream) => void;

/**
 * Calls that a server answers in few steps where they come by gRPC (PROTOCOL-HTTP2), because all sidecars of a machine
 * make them at the same moment; whatever else comes is the library's. A message that goes to many is written once.
 */
export class QuickCalls {
  readonly #answers = new Map<string, Answer>();
  /** Of messages that are sent to more than one. */
  readonly #frames = new WeakMap<Message, Buffer>();

  /** Answers a unary call. */
  unary<Input extends DescMessage, Output extends DescMessage>(
    method: DescMethodUnary<Input, Output>,
    answer: (request: MessageShape<Input>) => MessageInitShape<Output>,
  ): this {
    this.#answers.set(pathOf(method), (stream) =>
      readRequest(stream, (bytes) => {
        const message = create(method.output, answer(fromBinary(method.input, bytes)));
        respond(stream, new CallEnd());
        stream.end(framed(toBinary(method.output, message)));
      }),
    );
    return this;
  }

  /** Answers a call with a stream, until that ends or the signal says that nobody listens. */
  stream<Input extends DescMessage, Output extends DescMessage>(
    method: DescMethodServerStreaming<Input, Output>,
    open: (request: MessageShape<Input>, signal: AbortSignal) => AsyncIterable<MessageShape<Output>>,
  ): this {
    this.#answers.set(pathOf(method), (stream) =>
      readRequest(stream, (bytes) => {
        const leaving = new AbortController();
        stream.once("close", () => leaving.abort());
        const messages = open(fromBinary(method.input, bytes), leaving.signal);
        const frameOf = (message: MessageShape<Output>): Buffer => this.#frameOf(method.output, message);
        void writeAll(stream, messages, frameOf);
      }),
    );
    return this;
  }

  /** Answers what has come, if it is one of these calls; says whether it is. */
  take(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): boolean {
    const { ":method": method, ":path": path = "", "content-type": type } = headers;
    const isGrpc = type === "application/grpc" || type === grpcContentType;
    if (!isGrpc || method !== "POST") return false;
    const answer = this.#answers.get(path);
    if (answer === undefined) return false;
    // Of a caller that goes away in between; the stream's end says it too.
    stream.on("error", () => {});
    answer(stream);
    return true;
  }

  #frameOf<Output extends DescMessage>(schema: Output, message: MessageShape<Output>): Buffer {
    const known = this.#frames.get(message);
    if (known !== undefined) return known;
    const frame = framed(toBinary(schema, message));
    this.#frames.set(message, frame);
    return frame;
  }
}

function pathOf(method: DescMethodUnary | DescMethodServerStreaming): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** What is said at the end of an answer: that it is whole, unless anything else is set. */
class CallEnd {
  trailers: http2.OutgoingHttpHeaders = okTrailers;
}

function respond(stream: http2.ServerHttp2Stream, end: CallEnd): void {
  stream.respond(head, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers(end.trailers));
}

/** Reads the one message of a call, and refuses the call where that, or what is done with it, fails. */
function readRequest(stream: http2.ServerHttp2Stream, take: (message: Uint8Array) => void): void {
  const pieces: Buffer[] = [];
  let bytes = 0;
  stream.on("data", (piece: Buffer) => {
    bytes += piece.byteLength;
    if (stream.headersSent) return;
    pieces.push(piece);
    if (bytes <= requestBytesMax + prefixBytes) return;
    pieces.length = 0;
    refuse(stream, new ConnectError(`a request of over ${requestBytesMax} bytes`, Code.ResourceExhausted));
  });
  stream.once("end", () => {
    if (stream.headersSent) return;
    const whole = Buffer.concat(pieces);
    try {
      if (bytes < prefixBytes || whole[0] !== 0 || whole.readUInt32BE(1) !== bytes - prefixBytes)
        throw new ConnectError("not one plain message", Code.Internal);
      take(new Uint8Array(whole.subarray(prefixBytes)));
    } catch (error) {
      refuse(stream, error);
    }
  });
}

async function writeAll<Value>(
  stream: http2.ServerHttp2Stream,
  messages: AsyncIterable<Value>,
  frameOf: (message: Value) => Buffer,
): Promise<void> {
  const end = new CallEnd();
  try {
    for await (const message of messages) {
      if (stream.destroyed) break;
      if (!stream.headersSent) respond(stream, end);
      if (!stream.write(frameOf(message))) await drained(stream);
    }
    if (!stream.headersSent && !stream.destroyed) respond(stream, end);
  } catch (error) {
    if (!stream.headersSent) return refuse(stream, error);
    end.trailers = trailersOf(error);
  }
  stream.end();
}

/** Resolves when more can be written, or nothing any more. */
function drained(stream: http2.ServerHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      stream.off("drain", finish).off("close", finish);
      resolve();
    };
    stream.once("drain", finish).once("close", finish);
    if (stream.destroyed) finish();
  });
}

function refuse(stream: http2.ServerHttp2Stream, error: unknown): void {
  if (!stream.destroyed && !stream.headersSent)
    stream.respond({ ...head, ...trailersOf(error) }, { endStream: true });
}

/** What a fault of ours says is not for callers. */
function trailersOf(error: unknown): http2.OutgoingHttpHeaders {
  const { code, rawMessage } =
    error instanceof ConnectError ? error : new ConnectError("internal error", Code.Internal);
  return { "grpc-status": String(code), "grpc-message": encodeURIComponent(rawMessage.toWellFormed()) };
}
