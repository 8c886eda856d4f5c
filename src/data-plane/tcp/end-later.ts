import type { Socket } from "node:net";
import type { TcpLimits } from "./tcp-limits.ts";

/** Leaves a socket whose two directions have been ended to itself, and breaks it if its last bytes are not taken in time. */
export function endLater(socket: Socket, { lingerMillis }: Pick<TcpLimits, "lingerMillis">): void {
  if (socket.writableLength === 0) return;
  const timer = setTimeout(() => socket.destroy(), lingerMillis);
  timer.unref();
  socket.once("close", () => clearTimeout(timer));
}
