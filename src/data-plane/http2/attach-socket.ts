import type { Duplex } from "node:stream";
import type { Http2Session } from "./http2-session.ts";

/**
 * Feeds a session from the stream that is its transport, until either ends. `afterRead` is called when all frames that
 * came together have been dealt with.
 */
export function attachSocket(socket: Duplex, session: Http2Session, afterRead?: () => void): void {
  socket.on("data", (chunk: Buffer) => {
    session.read(chunk);
    afterRead?.();
  });
  socket.on("drain", () => session.onDrain());
  // The peer sends no more: neither requests nor the windows that answers would need.
  socket.on("end", () => socket.end());
  // The close event that follows does all that is to be done.
  socket.on("error", () => {});
  socket.on("close", () => session.destroy());
}
