import { createHash } from "node:crypto";
import http from "node:http";

// Answers at once, or after a second (`/slow`); streams a line every 100 ms for as long as it is listened to (`/stream`); and gives WebSockets, on
// which it repeats every byte. What its clients are in doubt about is whether a connection lasts.
const lineMillis = 100;
const slowMillis = 1_000;

const server = http.createServer((request, response) => {
  if (request.url !== "/stream") {
    const answer = (): unknown => response.writeHead(200, { "content-type": "text/plain" }).end("ok\n");
    request.resume().once("end", () => setTimeout(answer, request.url === "/slow" ? slowMillis : 0));
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  let lines = 0;
  const timer = setInterval(() => {
    response.write(`data: ${lines}\n\n`);
    lines += 1;
  }, lineMillis);
  response.once("close", () => clearInterval(timer));
});
server.on("upgrade", (request, socket, first) => {
  const key = String(request.headers["sec-websocket-key"]);
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  socket.write(first);
  socket.pipe(socket);
  socket.once("error", () => socket.destroy());
});
server.keepAliveTimeout = 120_000;
server.listen({ host: "127.0.0.1", port: Number(process.env["PORT"]) });
process.once("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});
