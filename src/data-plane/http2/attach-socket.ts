import type { Duplex } from "node:stream";
import type { Http2Session } from "./http2-session.ts";

/** Feeds a session from the stream that is its transport, until either ends. */
export function attachSocket(socket: Duplex, session: Http2Session): void {
  socket.on("data", (chunk: Buffer) => session.read(chunk));
  socket.on("drain", () => session.onDrain());
  // The peer sends no more: neither requests nor the windows that answers would need.
  socket.on("end", () => socket.end());
  // The close event that follows does all that is to be done.
  socket.on("error", () => {});
  socket.on("close", () => session.destroy());
}
