import { readFileSync } from "node:fs";
import { createServer } from "node:net";

// A child of a supervisor that does, at its start, what the file named last but one says: `serve`, `fail` or `hang`. On
// the inherited port it answers every connection with its process id; one that retires ends after as many seconds as
// it was told, or, where the file says `stay`, not by itself.
const args = process.argv.slice(2);
const behaviour = readFileSync(args[0] ?? "", "utf8").trim();

process.on("disconnect", () => process.exit());
switch (behaviour) {
  case "fail":
    process.stderr.write("a line of the log\nthe last line of the log\n");
    process.exit(9);
    break;
  case "tell":
    process.send?.({ kind: "failed", message: "no certificate" }, () => process.exit(1));
    break;
  case "hang":
    break;
  default: {
    const server = createServer((socket) => socket.end(String(process.pid)));
    server.listen({ fd: 4 }, () => {
      process.send?.({
        kind: "ready",
        addresses: { instance: String(process.pid), args: args.slice(1).join(" ") },
      });
    });
    process.on("message", (message) => {
      const isRetire = typeof message === "object" && message !== null && "drainSeconds" in message;
      if (!isRetire) return;
      server.close();
      setTimeout(() => process.exit(), Number(message.drainSeconds) * 1000);
    });
  }
}
