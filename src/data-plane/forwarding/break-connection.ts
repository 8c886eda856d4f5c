import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

/** Breaks a connection so that the client cannot take the part of a response that it got for the whole: with a reset, where it can be. */
export function breakConnection(socket: Socket): void {
  const isTcp = !(socket instanceof TLSSocket) && socket.remoteAddress !== undefined;
  if (isTcp) socket.resetAndDestroy();
  else socket.destroy();
}
