import http from "node:http";

// Answers a request once it is complete: with a kibibyte, or with as many bytes as its path says (`/67108864`), which
// it writes only as they are taken.
const kibibyte = Buffer.alloc(1024, "x");
const piece = Buffer.alloc(64 * 1024, "x");

const server = http.createServer((request, response) => {
  request.resume().once("end", () => {
    const bytes = Number(/^\/([0-9]+)$/.exec(request.url ?? "")?.[1] ?? kibibyte.length);
    response.writeHead(200, { "content-type": "text/plain", "content-length": bytes });
    if (bytes === kibibyte.length) {
      response.end(kibibyte);
      return;
    }
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
server.keepAliveTimeout = 120_000;
server.listen({ host: "127.0.0.1", port: Number(process.env["PORT"]) });
process.once("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});
