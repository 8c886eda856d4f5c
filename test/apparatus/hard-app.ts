import http from "node:http";
import http2 from "node:http2";
import { createServer, type Socket } from "node:net";

// An application that does what the last part of a request's path says, over HTTP/1.1 and, as gRPC, over HTTP/2.
const kibibyte = Buffer.alloc(1024, "x");
const piece = Buffer.alloc(64 * 1024, "x");
/** An empty message of gRPC. */
const message = Buffer.alloc(5);
const trickleMillis = 1_000;
const partMillis = 50;
const slowMillis = 4_000;

type Behaviour = (response: http.ServerResponse, socket: Socket) => void;

const lengthHead = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789";
const chunkedHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n";

const behaviours: Readonly<Record<string, Behaviour>> = {
  never: () => {},
  slow: (response) => void setTimeout(() => response.end(kibibyte), slowMillis),
  "trickle-head": (_, socket) => trickle(socket, `HTTP/1.1 200 OK\r\nX-Long: ${"x".repeat(4096)}`),
  "trickle-body": (_, socket) => {
    socket.write(lengthHead);
    trickle(socket, "abc");
  },
  "reset-before-head": (_, socket) => socket.resetAndDestroy(),
  "close-before-head": (_, socket) => socket.destroy(),
  "reset-mid-head": (_, socket) => socket.write("HTTP/1.1 200 OK\r\nConte", () => socket.resetAndDestroy()),
  "reset-mid-body": (_, socket) => after(socket, lengthHead, () => socket.resetAndDestroy()),
  "reset-after-head": (_, socket) => after(socket, lengthHead.slice(0, -10), () => socket.resetAndDestroy()),
  "close-mid-body": (_, socket) => after(socket, lengthHead, () => socket.end()),
  "close-in-chunked": (_, socket) => after(socket, chunkedHead, () => socket.end()),
  garbage: (_, socket) => socket.end("\u0000\u0001garbage\r\n\r\n\r\n"),
};

/** A reset takes what has not been read with it. */
function after(socket: Socket, text: string, then: () => void): void {
  socket.write(text);
  setTimeout(then, partMillis);
}

function trickle(socket: Socket, text: string): void {
  const [first = "", rest] = [text[0], text.slice(1)];
  socket.write(first);
  if (rest !== "") setTimeout(() => socket.destroyed || trickle(socket, rest), trickleMillis);
}

function lastOf(path: string | undefined): string {
  return path?.split("/").at(-1) ?? "";
}

const asHttp1 = http.createServer((request, response) => {
  const name = lastOf(request.url);
  const behaviour = behaviours[name];
  if (behaviour !== undefined) {
    request.resume();
    behaviour(response, request.socket);
    return;
  }
  let received = 0;
  request.on("data", (chunk: Buffer) => {
    received += chunk.length;
  });
  request.once("end", () => {
    if (name === "count") {
      response.end(String(received));
      return;
    }
    const bytes = Number(name) || kibibyte.length;
    response.writeHead(200, { "content-type": "text/plain", "content-length": bytes });
    let left = bytes;
    const write = (): void => {
      while (left > 0) {
        const part = piece.subarray(0, Math.min(left, piece.length));
        left -= part.length;
        if (!response.write(part)) return;
      }
      response.end();
    };
    response.on("drain", write);
    write();
  });
});
asHttp1.keepAliveTimeout = 120_000;
asHttp1.headersTimeout = 0;
asHttp1.requestTimeout = 0;

const grpcHead = { ":status": 200, "content-type": "application/grpc" };

const asHttp2 = http2.createServer();
asHttp2.on("session", (session) => session.on("error", () => {}));
asHttp2.on("stream", (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
  stream.on("error", () => {});
  const { session } = stream;
  // The raw socket is not to be had from the session.
  const socket = session === undefined ? undefined : sockets.get(session.socket.remotePort ?? 0);
  const begin = (): void => {
    stream.respond(grpcHead, { waitForTrailers: true });
    stream.write(message);
  };
  const soon = (run: () => void): void => void setTimeout(run, 20);
  stream.resume();
  switch (lastOf(headers[":path"])) {
    case "never":
      return;
    case "reset-before-head":
    case "reset-mid-head":
      return soon(() => socket?.resetAndDestroy());
    case "close-before-head":
      return soon(() => socket?.destroy());
    case "trickle-head":
      return;
    case "trickle-body":
      return begin();
    case "reset-after-head":
      stream.respond(grpcHead);
      return soon(() => socket?.resetAndDestroy());
    case "reset-mid-body":
      begin();
      return soon(() => socket?.resetAndDestroy());
    case "close-mid-body":
      begin();
      return soon(() => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR));
    case "close-in-chunked":
      begin();
      return soon(() => socket?.destroy());
    case "garbage":
      socket?.write("garbage garbage garbage garbage");
      return;
    case "slow":
      setTimeout(() => answer(stream), slowMillis);
      return;
    default:
      stream.once("end", () => answer(stream));
  }
});

function answer(stream: http2.ServerHttp2Stream): void {
  if (stream.destroyed) return;
  stream.respond(grpcHead, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.end(message);
}

const sockets = new Map<number, Socket>();
const server = createServer((socket) => {
  const port = socket.remotePort ?? 0;
  sockets.set(port, socket);
  socket.setNoDelay(true);
  socket.on("error", () => {});
  socket.once("close", () => sockets.delete(port));
  socket.once("data", (first: Buffer) => {
    socket.pause();
    socket.unshift(first);
    const isHttp2 = first.subarray(0, 3).toString("latin1") === "PRI";
    (isHttp2 ? asHttp2 : asHttp1).emit("connection", socket);
    process.nextTick(() => socket.resume());
  });
});
server.listen({ host: "127.0.0.1", port: Number(process.env["PORT"] ?? 0) }, () => {
  const address = server.address();
  process.stdout.write(`listening ${typeof address === "object" ? address?.port : ""}\n`);
});
process.once("SIGTERM", () => process.exit());
