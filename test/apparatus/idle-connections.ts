import { connect, type Socket } from "node:net";

/** Connections of this process to one listener that do nothing. */
export class IdleConnections implements Disposable {
  readonly #sockets: Socket[] = [];
  /** Those that the other side has ended. */
  ended = 0;

  /** Opens so many more, so many at a time; `first` is sent on each and its answer awaited. */
  async open(address: string, count: number, first: string): Promise<void> {
    const [host = "", port = ""] = address.split(":");
    let left = count;
    const work = async (): Promise<void> => {
      while (left > 0) {
        left -= 1;
        await this.#one(host, Number(port), first);
      }
    };
    await Promise.all(Array.from({ length: 64 }, work));
  }

  /** Those that are still open. */
  get held(): number {
    return this.#sockets.length - this.ended;
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #one(host: string, port: number, first: string): Promise<void> {
    return new Promise((resolve) => {
      const socket = connect({ host, port });
      this.#sockets.push(socket);
      socket.on("error", () => {});
      socket.once("close", () => {
        this.ended += 1;
        resolve();
      });
      socket.once("connect", () => socket.write(first));
      socket.once("data", () => resolve());
    });
  }
}
