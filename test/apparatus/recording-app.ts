import { createServer, type Socket } from "node:net";
import { LlhttpConnection, type ReadRequest, type RequestsRead } from "./http1-reading.ts";
import type { PlainApp } from "./plain-app.ts";

/** One connection to the application: every byte that came, and what llhttp made of them. */
export interface RecordedConnection extends RequestsRead {
  readonly bytes: () => Buffer;
}

/** A request that reached the application. */
export interface RecordedRequest {
  /** Its answer has this number in `X-Answer`; they count up from 1. */
  readonly number: number;
  /** What the owner of the record said was going on when its head came. */
  readonly during: string;
  readonly read: () => ReadRequest;
}

/** An application that reads with llhttp, keeps every byte, and answers a request when it is whole. */
export interface RecordingApp extends PlainApp {
  /** Set by the owner: what is going on. */
  during: string;
  readonly requests: readonly RecordedRequest[];
  readonly connections: readonly RecordedConnection[];
  /** Closes the connections there are and forgets them and their requests; answers with what they were. */
  readonly forget: () => Promise<readonly RecordedConnection[]>;
}

/** The header line by which an answer names the request that it answers. */
export const answerName = "X-Answer";

/** Opens the application on loopback. */
export async function openRecordingApp(): Promise<RecordingApp> {
  let requests: RecordedRequest[] = [];
  let connections: RecordedConnection[] = [];
  const sockets = new Set<Socket>();
  let answers = 0;
  let bytes = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    const pieces: Buffer[] = [];
    const numbers: number[] = [];
    const reader = new LlhttpConnection({
      onHead: (place) => {
        answers += 1;
        numbers[place] = answers;
        requests.push({
          number: answers,
          during: app.during,
          read: () => reader.messages[place] ?? noRequest,
        });
      },
      onWhole: (place, response) => {
        const headers = { "content-type": "text/plain", [answerName]: String(numbers[place]) };
        response.writeHead(200, headers).end("ok\n");
      },
      onOutput: (output) => socket.write(output),
      onGone: () => socket.destroySoon(),
    });
    connections.push(Object.assign(reader, { bytes: () => Buffer.concat(pieces) }));
    socket.on("data", (piece: Buffer) => {
      bytes += piece.length;
      pieces.push(piece);
      reader.push(piece);
    });
    socket.on("error", () => {});
    socket.on("end", () => reader.end());
    socket.on("close", () => {
      sockets.delete(socket);
      reader.end();
    });
  });
  const closeAll = async (): Promise<void> => {
    const closed = [...sockets].map((socket) => new Promise((resolve) => socket.once("close", resolve)));
    for (const socket of sockets) socket.destroy();
    await Promise.all(closed);
  };
  const kill = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve));
    await closeAll();
    await closed;
  };
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, () => resolve()));
  const address = server.address();
  const app: RecordingApp = {
    port: typeof address === "object" && address !== null ? address.port : 0,
    seen: [],
    bytes: () => bytes,
    during: "",
    get requests() {
      return requests;
    },
    get connections() {
      return connections;
    },
    forget: async () => {
      await closeAll();
      const were = connections;
      connections = [];
      requests = [];
      return were;
    },
    kill,
    [Symbol.asyncDispose]: kill,
  };
  return app;
}

const noRequest: ReadRequest = {
  method: "",
  target: "",
  host: "",
  framing: "0",
  headers: [],
  body: "",
  trailers: [],
  isWhole: false,
};
