import net from "node:net";

/** The least that can answer: reads a head, skips a body of known length, answers with a fixed text. */
const answers: ReadonlyMap<string, Buffer> = new Map([
  ["/1k", answerOf(1024)],
  ["/16k", answerOf(16_384)],
]);
const notFound = Buffer.from("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");

const server = net.createServer({ noDelay: true }, (socket) => {
  let pending = "";
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk: Buffer) => {
    pending += chunk.toString("latin1");
    for (;;) {
      const end = pending.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = pending.slice(0, end);
      const length = Number(/^content-length: *([0-9]+)$/im.exec(head)?.[1] ?? 0);
      if (pending.length < end + 4 + length) return;
      pending = pending.slice(end + 4 + length);
      socket.write(answers.get(head.split(" ", 2)[1] ?? "") ?? notFound);
    }
  });
});
server.listen({ host: "127.0.0.1", port: Number(process.argv[2]) });

function answerOf(bytes: number): Buffer {
  const head = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${bytes}\r\n\r\n`;
  return Buffer.from(head + "x".repeat(bytes));
}
