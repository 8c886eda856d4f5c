import type { Server } from "node:http";
import type { Socket } from "node:net";

/**
 * Lets at most `waitingMax` connections of a server be without a whole request: one more ends the one that has been so
 * for longest. Whoever wants an answer asks at once, so what has waited longest is somebody who holds places.
 */
export function makeRoom(server: Server, waitingMax: number): void {
  const waiting = new Set<Socket>();
  const wait = (socket: Socket): void => {
    waiting.add(socket);
    const [oldest] = waiting;
    if (waiting.size <= waitingMax || oldest === undefined) return;
    waiting.delete(oldest);
    oldest.destroy();
  };
  server.on("connection", (socket) => {
    socket.once("close", () => waiting.delete(socket));
    wait(socket);
  });
  server.on("request", ({ socket }, response) => {
    waiting.delete(socket);
    response.once("close", () => {
      if (!socket.destroyed) wait(socket);
    });
  });
}
