import type { Duplex } from "node:stream";
import type { Http2Session } from "./http2-session.ts";

/**
 * Feeds a session from the stream that is its transport until either ends. `onFault` learns what a handler threw: a
 * fault of ours, over which the session ends and the process does not.
 */
export function attachSocket(
  socket: Duplex,
  session: Http2Session,
  onFault?: (fault: unknown) => void,
): void {
  const guarded = (run: () => void): void => {
    try {
      run();
    } catch (fault) {
      onFault?.(fault);
      session.fail("internal-fault");
    }
  };
  socket.on("data", (chunk: Buffer) => guarded(() => session.read(chunk)));
  socket.on("drain", () => guarded(() => session.onDrain()));
  // The peer sends no more: neither requests nor the windows that answers would need.
  socket.on("end", () => socket.end());
  // The close event that follows does all that is to be done.
  socket.on("error", () => {});
  socket.on("close", () => guarded(() => session.destroy()));
}
