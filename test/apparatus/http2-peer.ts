import { once } from "node:events";
import http2 from "node:http2";
import tls from "node:tls";
import type { Papers } from "./hostile-peer.ts";

/** A stream that a peer has opened at a sidecar's mesh listener, with what has come of it. */
export interface PeerStream extends AsyncDisposable {
  readonly stream: http2.ClientHttp2Stream;
  /** Opens another one on the same connection. */
  readonly request: (headers: http2.OutgoingHttpHeaders) => http2.ClientHttp2Stream;
  readonly status: number;
  /** In a problem answer; empty in others. */
  readonly reason: () => string;
  readonly text: () => string;
  /** Whether it is over, or its connection is. */
  readonly isOver: () => boolean;
}

/** Opens a stream at a sidecar's mesh listener as whoever has these papers, past any sidecar of its own. */
export async function askAsPeer(
  address: string,
  papers: Papers,
  headers: http2.OutgoingHttpHeaders,
): Promise<PeerStream> {
  const [host = "", port = ""] = address.split(":");
  const { cert, key } = papers;
  const socket = tls.connect({
    host,
    port: Number(port),
    cert,
    key,
    minVersion: "TLSv1.3",
    rejectUnauthorized: false,
    ALPNProtocols: ["h2"],
  });
  const client = http2.connect(`https://${address}`, { createConnection: () => socket });
  client.on("error", () => {});
  const stream = client.request(headers, { endStream: headers[":method"] !== "CONNECT" });
  let text = "";
  let isOver = false;
  stream.setEncoding("latin1");
  stream.on("data", (chunk: string) => {
    text += chunk;
  });
  stream.on("close", () => {
    isOver = true;
  });
  stream.on("error", () => {});
  const [received]: http2.IncomingHttpHeaders[] = await once(stream, "response");
  const status = Number(received?.[":status"]);
  if (status >= 300) await once(stream, "end");
  return {
    stream,
    request: (more) => client.request(more, { endStream: more[":method"] !== "CONNECT" }),
    status,
    reason: () => /"reason":"([a-z-]+)"/.exec(text)?.[1] ?? "",
    text: () => text,
    isOver: () => isOver,
    [Symbol.asyncDispose]: async () => {
      const closed = socket.destroyed ? Promise.resolve() : once(socket, "close");
      client.destroy();
      await closed;
    },
  };
}
