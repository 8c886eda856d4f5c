import { connect, type Socket } from "node:net";
import tls from "node:tls";
import type { Papers } from "./hostile-peer.ts";

/** What came back for bytes that were sent, and how it ended. */
export interface RawAnswer {
  /** In Latin-1. */
  readonly text: string;
  /** `open` when the other side had not ended it in time. */
  readonly end: "ended" | "reset" | "open";
}

/** How bytes are sent. */
export interface RawSending {
  /** In Latin-1, one write each. */
  readonly pieces: readonly string[];
  /** Whether our side is ended behind the last piece. */
  readonly isEnded: boolean;
  readonly waitMillisMax: number;
  /** How long to wait between pieces; no longer than the other side needs to read unless given. */
  readonly pauseMillis?: number;
  /** Asked now and then whether it is in order that the other side keeps the connection open. */
  readonly mayStayOpen?: () => boolean;
}

/** Where bytes are sent: to the edge for applications, or, with papers, to that for other proxies. */
export interface RawPlace {
  /** host:port. */
  readonly address: string;
  readonly papers?: Pick<Papers, "cert" | "key">;
}

const askMillis = 200;

/** Sends bytes on a connection of their own and reads until the other side ends it. Never throws. */
export async function sendRaw(
  place: RawPlace,
  { pieces, isEnded, waitMillisMax, pauseMillis, mayStayOpen }: RawSending,
): Promise<RawAnswer> {
  const socket = await open(place);
  const chunks: Buffer[] = [];
  return new Promise((resolve) => {
    const settle = (end: RawAnswer["end"]): void => {
      clearTimeout(timer);
      clearInterval(asking);
      socket.destroy();
      resolve({ text: Buffer.concat(chunks).toString("latin1"), end });
    };
    const timer = setTimeout(settle, waitMillisMax, "open");
    const asking = setInterval(() => {
      if (mayStayOpen?.() === true) settle("open");
    }, askMillis);
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("end", () => settle("ended"));
    socket.on("error", () => settle("reset"));
    socket.on("close", () => settle("reset"));
    const send = (next: number): void => {
      if (socket.destroyed || !socket.writable) return;
      const piece = pieces[next];
      if (piece === undefined) {
        if (isEnded) socket.end();
        return;
      }
      socket.write(Buffer.from(piece, "latin1"));
      // The other side reads in between, since it may be in this very process.
      if (pauseMillis === undefined) setImmediate(send, next + 1);
      else setTimeout(send, pauseMillis, next + 1);
    };
    send(0);
  });
}

async function open({ address, papers }: RawPlace): Promise<Socket> {
  const [host = "", port = ""] = address.split(":");
  const to = { host, port: Number(port), allowHalfOpen: true };
  if (papers === undefined) {
    const socket = connect({ ...to, noDelay: true });
    socket.on("error", () => {});
    return socket;
  }
  const { cert, key } = papers;
  const socket = tls.connect({
    ...to,
    cert,
    key,
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  socket.setNoDelay(true);
  socket.on("error", () => {});
  return new Promise((resolve) => {
    socket.once("secureConnect", () => resolve(socket));
    socket.once("close", () => resolve(socket));
  });
}

/** Cuts bytes into pieces of a size. */
export function piecesOf(bytes: string, size: number): string[] {
  const pieces: string[] = [];
  const step = Math.ceil(size);
  for (let at = 0; at < bytes.length; at += step) pieces.push(bytes.slice(at, at + step));
  return pieces;
}

/** The statuses of all final responses in bytes from a server, in order. */
export function finalStatuses(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 ([0-9]{3}) /g)]
    .map(([, status]) => Number(status))
    .filter((status) => status >= 200);
}
