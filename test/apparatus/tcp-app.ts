import { once } from "node:events";
import net from "node:net";
import type { PlainApp } from "./plain-app.ts";

/** One end of a TCP connection, and everything that has come of it. */
export class TcpEnd {
  readonly socket: net.Socket;
  readonly chunks: Buffer[] = [];
  hasEnded = false;
  /** How it closed; undefined while it is open. */
  closed: "ended" | "reset" | undefined;

  constructor(socket: net.Socket) {
    this.socket = socket;
    let failure = "";
    socket.on("data", (chunk: Buffer) => this.chunks.push(chunk));
    socket.on("end", () => {
      this.hasEnded = true;
    });
    socket.on("error", (error) => {
      failure = error.message;
    });
    socket.on("close", () => {
      this.closed = failure === "" ? "ended" : "reset";
    });
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  get text(): string {
    return this.bytes.toString("latin1");
  }
}

/** An application that takes TCP connections and answers as it is told. */
export interface TcpApp extends PlainApp {
  /** Those on which something has come, as nothing does when its sidecar looks whether it is there. */
  readonly connections: () => TcpEnd[];
}

/** Opens one on loopback. Each connection may stay open one way after the other has ended. */
export async function openTcpApp(onConnection: (end: TcpEnd) => void = () => {}, port = 0): Promise<TcpApp> {
  const connections: TcpEnd[] = [];
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const end = new TcpEnd(socket);
    connections.push(end);
    // A look whether it is there, which ends without a byte.
    socket.on("end", () => {
      if (end.chunks.length === 0) socket.end();
    });
    onConnection(end);
  });
  server.listen({ host: "127.0.0.1", port });
  await once(server, "listening");
  const address = server.address();
  const kill = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const { socket } of connections) socket.destroy();
    await closed;
  };
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    seen: [],
    bytes: () => connections.reduce((sum, { socket }) => sum + socket.bytesRead, 0),
    kill,
    connections: () => connections.filter(({ chunks }) => chunks.length > 0),
    [Symbol.asyncDispose]: kill,
  };
}

/** Connects to host:port, as an application does that knows nothing of the mesh; it may be closed by then. */
export async function connectTo(address: string): Promise<TcpEnd> {
  const [host = "", port = ""] = address.split(":");
  const socket = net.connect({ host, port: Number(port), allowHalfOpen: true, noDelay: true });
  const end = new TcpEnd(socket);
  await new Promise<void>((resolve) => {
    socket.once("connect", resolve);
    socket.once("close", () => resolve());
  });
  return end;
}
