import http from "node:http";
import type net from "node:net";

/** A request as an application saw it. */
export interface SeenRequest {
  readonly line: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** An application that knows nothing of the mesh and keeps what reaches it. */
export interface PlainApp extends AsyncDisposable {
  readonly port: number;
  readonly seen: SeenRequest[];
  /** Bytes that reached it on any connection, in all. */
  readonly bytes: () => number;
  /** Ends it at once, with all of its connections. */
  readonly kill: () => Promise<void>;
}

/** Opens an application on loopback; it answers 200 with its name unless told otherwise. */
export async function openPlainApp(
  options: { readonly name?: string; readonly port?: number; readonly answer?: http.RequestListener } = {},
): Promise<PlainApp> {
  const { name = "app", port = 0, answer = (_request, response) => response.end(name) } = options;
  const seen: SeenRequest[] = [];
  const sockets = new Set<net.Socket>();
  let closedBytes = 0;
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url = "", headers } = request;
      seen.push({ line: `${method} ${url}`, headers, body: Buffer.concat(chunks).toString() });
      answer(request, response);
    });
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => {
      closedBytes += socket.bytesRead;
      sockets.delete(socket);
    });
  });
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port }, () => resolve()));
  const address = server.address();
  const kill = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    seen,
    bytes: () => [...sockets].reduce((sum, socket) => sum + socket.bytesRead, closedBytes),
    kill,
    [Symbol.asyncDispose]: kill,
  };
}
