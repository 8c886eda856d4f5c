import http2 from "node:http2";
import type { Socket } from "node:net";
import {
  create,
  type DescMessage,
  type DescMethodStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { messageOf } from "../base/mesh-error.ts";
import { framed, grpcContentType, prefixBytes } from "./grpc-message.ts";
import { rpcAuthority } from "./rpc-authority.ts";

const pingIntervalMillis = 10_000;
const pingTimeoutMillis = 5_000;
/** More than any update of a server that keeps to the protocol; what comes has to be held in memory. */
const messageBytesMax = 16 * 1024 * 1024;

/**
 * Calls over one connection by gRPC (PROTOCOL-HTTP2): unary ones and those with a stream of answers; metadata is neither
 * sent nor shown. A message takes few steps here, since a hundred sidecars take theirs on the same machine at the same
 * moment: measured, the library's own transport costs a sidecar more than judging and folding what the message says.
 */
export function grpcTransport(socket: Socket): Transport {
  const session = http2.connect(`http://${rpcAuthority}`, { createConnection: () => socket });
  session.on("error", () => socket.destroy());
  keepAlive(session, socket);
  return {
    unary: async (method, signal, timeoutMs, ...[, input]) => {
      const call = new GrpcCall(session, method, { input, signal, timeoutMs });
      const first = await call.next();
      if (first.done === true) throw new ConnectError("an answer without a message", Code.Internal);
      const second = await call.next();
      if (second.done !== true) throw new ConnectError("more than one answer", Code.Internal);
      return { ...unary, ...noMetadata(), service: method.parent, method, message: first.value };
    },
    stream: async (method, signal, timeoutMs, ...[, inputs]) => {
      if (method.methodKind !== "server_streaming")
        throw new ConnectError(`${method.methodKind} calls are not made`, Code.Unimplemented);
      for await (const input of inputs) {
        const message = new GrpcCall(session, method, { input, signal, timeoutMs });
        return { ...streamed, ...noMetadata(), service: method.parent, method, message };
      }
      throw new ConnectError("a call without a message", Code.Internal);
    },
  };
}

const unary = { stream: false } as const;
const streamed = { stream: true } as const;

function noMetadata(): { readonly header: Headers; readonly trailer: Headers } {
  return { header: new Headers(), trailer: new Headers() };
}

/** A server that does not answer any more is left. */
function keepAlive(session: http2.ClientHttp2Session, socket: Socket): void {
  let late: NodeJS.Timeout | undefined;
  const interval = setInterval(() => {
    if (session.destroyed) return;
    late = setTimeout(() => socket.destroy(), pingTimeoutMillis);
    session.ping(() => clearTimeout(late));
  }, pingIntervalMillis);
  socket.once("close", () => {
    clearInterval(interval);
    clearTimeout(late);
  });
}

/** One call: its answers in order, and then how it ended, which is an error unless the server says OK. */
class GrpcCall<Input extends DescMessage, Output extends DescMessage>
  implements AsyncIterableIterator<MessageShape<Output>, undefined>
{
  readonly #output: Output;
  readonly #stream: http2.ClientHttp2Stream;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #aborted = (): void => this.#fail(ConnectError.from(this.#signal?.reason, Code.Canceled));
  /** Pieces of messages that are not whole yet. */
  #pieces: Buffer[] = [];
  #piecesBytes = 0;
  readonly #answers: MessageShape<Output>[] = [];
  #waiting: { readonly resolve: () => void } | undefined;
  #status: ConnectError | "ok" | undefined;
  #isOver = false;

  constructor(
    session: http2.ClientHttp2Session,
    method: DescMethodUnary<Input, Output> | DescMethodStreaming<Input, Output>,
    options: {
      readonly input: MessageInitShape<Input>;
      readonly signal: AbortSignal | undefined;
      readonly timeoutMs: number | undefined;
    },
  ) {
    const { input, signal, timeoutMs } = options;
    if (signal?.aborted === true) throw ConnectError.from(signal.reason, Code.Canceled);
    this.#output = method.output;
    this.#signal = signal;
    this.#stream = openStream(session, `/${method.parent.typeName}/${method.name}`, timeoutMs);
    this.#stream.on("response", (head) => this.#takeHead(head));
    this.#stream.on("trailers", (trailers) => this.#takeStatus(trailers));
    this.#stream.on("data", (piece: Buffer) => this.#takePiece(piece));
    this.#stream.once("end", () => this.#endIfTold());
    // What became of it is known when it has closed.
    this.#stream.on("error", () => {});
    this.#stream.once("close", () => this.#close());
    signal?.addEventListener("abort", this.#aborted, { once: true });
    if (timeoutMs !== undefined && timeoutMs > 0)
      this.#timer = setTimeout(
        () => this.#fail(new ConnectError(`no answer within ${timeoutMs} ms`, Code.DeadlineExceeded)),
        timeoutMs,
      );
    this.#stream.end(framed(toBinary(method.input, create(method.input, input))));
  }

  async next(): Promise<IteratorResult<MessageShape<Output>, undefined>> {
    while (this.#answers.length === 0 && !this.#isOver) {
      if (this.#stream.isPaused()) this.#stream.resume();
      await new Promise<void>((resolve) => {
        this.#waiting = { resolve };
      });
    }
    const value = this.#answers.shift();
    if (value !== undefined) return { done: false, value };
    if (this.#status !== "ok") throw this.#status ?? gone();
    return { done: true, value: undefined };
  }

  /** Nobody wants the rest. */
  return(): Promise<IteratorResult<MessageShape<Output>, undefined>> {
    this.#fail(new ConnectError("nobody reads on", Code.Canceled));
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #takeHead(head: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader): void {
    const status = head[":status"] ?? 0;
    if (status !== 200) this.#fail(new ConnectError(`HTTP ${status}`, codeOfHttp(status)));
    else if (head["grpc-status"] !== undefined) this.#takeStatus(head);
    else if (head["content-type"]?.startsWith("application/grpc") !== true)
      this.#fail(new ConnectError(`an answer of ${head["content-type"]}`, Code.Unknown));
  }

  #takeStatus(trailers: http2.IncomingHttpHeaders): void {
    const { "grpc-status": status, "grpc-message": message = "" } = trailers;
    if (status === undefined) return;
    this.#status ??= status === "0" ? "ok" : new ConnectError(decoded(String(message)), codeOfGrpc(status));
    this.#endIfTold();
  }

  /** A server that refuses a call need not read it to its end. */
  #endIfTold(): void {
    if (this.#isOver || this.#status === undefined || !this.#stream.readableEnded) return;
    this.#close();
    if (!this.#stream.writableFinished) this.#stream.close(http2.constants.NGHTTP2_CANCEL);
  }

  #takePiece(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#piecesBytes += piece.byteLength;
    try {
      for (let message = this.#takeMessage(); message !== undefined; message = this.#takeMessage())
        this.#answers.push(fromBinary(this.#output, message));
    } catch (error) {
      this.#fail(error instanceof ConnectError ? error : new ConnectError(messageOf(error), Code.Internal));
    }
    if (this.#answers.length === 0) return;
    // What is not wanted yet waits at the server.
    if (this.#waiting === undefined) this.#stream.pause();
    this.#wake();
  }

  /** The next whole message; undefined until it is there. */
  #takeMessage(): Uint8Array | undefined {
    const [first] = this.#pieces;
    if (first === undefined || this.#piecesBytes < prefixBytes) return undefined;
    const prefix = first.byteLength >= prefixBytes ? first : this.#joined();
    const messageBytes = prefix.readUInt32BE(1);
    if (prefix[0] !== 0) throw new ConnectError("a compressed message", Code.Internal);
    if (messageBytes > messageBytesMax)
      throw new ConnectError(`a message of ${messageBytes} bytes`, Code.ResourceExhausted);
    const end = prefixBytes + messageBytes;
    if (this.#piecesBytes < end) return undefined;
    const whole = this.#joined();
    this.#pieces = whole.byteLength === end ? [] : [whole.subarray(end)];
    this.#piecesBytes = whole.byteLength - end;
    // A copy: parts of it are kept, and what came with it need not be.
    return new Uint8Array(whole.subarray(prefixBytes, end));
  }

  #joined(): Buffer {
    const [first] = this.#pieces;
    const whole = first !== undefined && this.#pieces.length === 1 ? first : Buffer.concat(this.#pieces);
    this.#pieces = [whole];
    return whole;
  }

  #fail(error: ConnectError): void {
    if (this.#isOver) return;
    this.#status = error;
    this.#close();
    this.#stream.close(http2.constants.NGHTTP2_CANCEL);
  }

  #close(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#aborted);
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve();
  }
}

function openStream(
  session: http2.ClientHttp2Session,
  path: string,
  timeoutMs: number | undefined,
): http2.ClientHttp2Stream {
  if (session.closed || session.destroyed) throw gone();
  return session.request({
    ":method": "POST",
    ":path": path,
    "content-type": grpcContentType,
    te: "trailers",
    ...(timeoutMs === undefined || timeoutMs <= 0 ? {} : { "grpc-timeout": `${timeoutMs}m` }),
  });
}

function gone(): ConnectError {
  return new ConnectError("the connection is gone", Code.Unavailable);
}

/** Texts of errors are percent-encoded. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const codes: ReadonlySet<number> = new Set(Object.values(Code).filter((code) => typeof code === "number"));

function codeOfGrpc(status: string | readonly string[]): Code {
  const code = Number(status);
  return isCode(code) ? code : Code.Unknown;
}

function isCode(code: number): code is Code {
  return codes.has(code);
}

/** An answer that is none of gRPC comes from what stands before a server. */
function codeOfHttp(status: number): Code {
  switch (status) {
    case 401:
      return Code.Unauthenticated;
    case 403:
      return Code.PermissionDenied;
    case 404:
      return Code.Unimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return Code.Unavailable;
    default:
      return Code.Unknown;
  }
}
