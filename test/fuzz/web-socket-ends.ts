import { createHash } from "node:crypto";
import { once } from "node:events";
import http2 from "node:http2";
import { openUpstream, RawClient, until } from "./http1-hop.ts";

/** What RFC 6455, 1.3 answers a key with, written here once more so that no test asks the code it tests. */
export function acceptOf(key: string): string {
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

/** The head of a request for a WebSocket over HTTP/1.1; `lines` take the place of those of the same name. */
export function upgradeRequest(key = "dGhlIHNhbXBsZSBub25jZQ==", lines: readonly string[] = []): string {
  const usual = [
    "Host: a",
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    `Sec-WebSocket-Key: ${key}`,
    "Sec-WebSocket-Version: 13",
  ];
  const nameOf = (line: string): string => line.slice(0, line.indexOf(":")).toLowerCase();
  const names = lines.map(nameOf);
  const kept = usual.filter((line) => !names.includes(nameOf(line)));
  const sent = [...kept, ...lines.filter((line) => !line.endsWith(":-"))];
  return `GET /chat?room=1 HTTP/1.1\r\n${sent.map((line) => `${line}\r\n`).join("")}\r\n`;
}

/** The head of the answer that gives a WebSocket. */
export function upgradeAnswer(key: string, lines = ""): string {
  return `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${acceptOf(key)}\r\n${lines}\r\n`;
}

/** The value of a line in a head. */
export function lineOf(head: string, name: string): string | undefined {
  return new RegExp(`^${name}: (.*?)\r$`, "im").exec(head)?.[1];
}

/** An application that answers each request for a WebSocket and then repeats every byte, until it ends with its client. */
export interface EchoingApp extends AsyncDisposable {
  readonly port: number;
  /** Heads as they came, one a request. */
  readonly heads: string[];
}

/** Opens one that speaks HTTP/1.1. */
export async function openHttp1App(): Promise<EchoingApp> {
  const heads: string[] = [];
  const upgraded = new Set<number>();
  const app = await openUpstream((socket, text, index) => {
    const end = text.indexOf("\r\n\r\n") + 4;
    if (end < 4 || upgraded.has(index)) return;
    upgraded.add(index);
    const head = text.slice(0, end);
    heads.push(head);
    socket.write(upgradeAnswer(lineOf(head, "sec-websocket-key") ?? "", "Sec-WebSocket-Protocol: chat\r\n"));
    socket.write(Buffer.from(text.slice(end), "latin1"));
    socket.on("data", (chunk) => socket.write(chunk));
  });
  return { port: app.port, heads, [Symbol.asyncDispose]: () => app[Symbol.asyncDispose]() };
}

/** Opens one that speaks HTTP/2 (RFC 8441), of Node's own. */
export async function openHttp2App(): Promise<EchoingApp> {
  const heads: string[] = [];
  const sessions = new Set<http2.ServerHttp2Session>();
  const server = http2.createServer({ settings: { enableConnectProtocol: true } });
  server.on("session", (session) => sessions.add(session));
  server.on("stream", (stream: http2.ServerHttp2Stream, headers) => {
    heads.push(
      Object.entries(headers)
        .map(([name, value]) => `${name}: ${String(value)}\r\n`)
        .join(""),
    );
    stream.on("error", () => {});
    stream.respond({ ":status": 200, "sec-websocket-protocol": "chat" });
    stream.on("data", (chunk: Buffer) => stream.write(chunk));
    stream.on("end", () => stream.end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    heads,
    [Symbol.asyncDispose]: async () => {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}

/** A client with an open WebSocket, as far as bytes go. */
export interface EchoClient extends Disposable {
  /** The status that opened it, and the protocol the application chose. */
  readonly status: number;
  readonly protocol: string | undefined;
  /** All that came through it, as Latin-1 text. */
  readonly received: () => string;
  readonly hasEnded: () => boolean;
  /** Whether it is over, in whatever way. */
  readonly isClosed: () => boolean;
  readonly send: (bytes: Buffer) => void;
  readonly end: () => void;
}

/** Opens a WebSocket over HTTP/1.1; `early` is sent with the request, in pieces that end where `cuts` say. */
export async function openByUpgrade(
  port: number,
  early = "",
  cuts: readonly number[] = [],
  host = "a",
): Promise<EchoClient> {
  const client = new RawClient(port);
  const key = Buffer.from("0123456789abcdef").toString("base64");
  const bytes = `${upgradeRequest(key, ["Sec-WebSocket-Protocol: chat, talk", `Host: ${host}`])}${early}`;
  let at = 0;
  for (const cut of [...cuts.toSorted((left, right) => left - right), bytes.length]) {
    client.send(bytes.slice(at, cut));
    at = Math.max(at, cut);
    await new Promise(setImmediate);
  }
  await until(() => client.text.includes("\r\n\r\n"));
  const head = client.text.slice(0, client.text.indexOf("\r\n\r\n") + 4);
  const isRight = lineOf(head, "sec-websocket-accept") === acceptOf(key);
  return {
    status: isRight ? Number(head.slice(9, 12)) : 0,
    protocol: lineOf(head, "sec-websocket-protocol"),
    received: () => client.text.slice(head.length),
    hasEnded: () => client.hasEnded,
    isClosed: () => client.isClosed,
    send: (data) => client.socket.write(data),
    end: () => client.socket.end(),
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}

/** Opens a WebSocket over HTTP/2, with Node's own client. */
export async function openByConnect(
  port: number,
  early = "",
  _cuts: readonly number[] = [],
  host = "a",
): Promise<EchoClient> {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  await once(session, "remoteSettings");
  const stream = session.request(
    {
      ":method": "CONNECT",
      ":protocol": "websocket",
      ":scheme": "http",
      ":path": "/chat?room=1",
      ":authority": host,
      "sec-websocket-version": "13",
      "sec-websocket-protocol": "chat, talk",
    },
    { endStream: false },
  );
  let text = "";
  let hasEnded = false;
  const seen: { headers?: http2.IncomingHttpHeaders } = {};
  stream.on("error", () => {});
  stream.on("response", (headers) => {
    seen.headers = headers;
  });
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  stream.on("end", () => {
    hasEnded = true;
  });
  if (early !== "") stream.write(Buffer.from(early, "latin1"));
  await until(() => seen.headers !== undefined);
  return {
    status: Number(seen.headers?.[":status"]),
    protocol: String(seen.headers?.["sec-websocket-protocol"]),
    received: () => text,
    hasEnded: () => hasEnded,
    isClosed: () => stream.closed,
    send: (data) => stream.write(data),
    end: () => stream.end(),
    [Symbol.dispose]: () => session.destroy(),
  };
}
