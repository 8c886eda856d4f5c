import http2 from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import type { Credentials } from "./hostile-certificates.ts";

const kibibyte = Buffer.alloc(1024, "x");
const message = Buffer.alloc(5);
const slowMillis = 4_000;

/** A member of the mesh that is not Troth's, written with Node's own HTTP/2. */
export interface PlainMember extends AsyncDisposable {
  /** host:port, for mutual TLS. */
  readonly address: string;
}

/**
 * Answers a kibibyte, or, to a call of gRPC, an empty message: at once, after a while where the path ends in `slow`;
 * what is sent to a path that ends in `unread` is never read, and not answered.
 */
export async function openPlainMember(credentials: Credentials): Promise<PlainMember> {
  const server = http2.createSecureServer({
    ...credentials,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
  });
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
    session.once("close", () => sessions.delete(session));
  });
  server.on("tlsClientError", () => {});
  server.on("stream", (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    stream.on("error", () => {});
    void answer(stream, headers);
  });
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
  const bound = server.address();
  return {
    address: `127.0.0.1:${typeof bound === "object" && bound !== null ? bound.port : 0}`,
    [Symbol.asyncDispose]: async () => {
      for (const session of sessions) session.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function answer(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): Promise<void> {
  const name = headers[":path"]?.split("/").at(-1);
  if (name === "unread") return;
  stream.resume();
  if (name === "slow") await sleep(slowMillis);
  if (stream.destroyed) return;
  if (headers["content-type"] !== "application/grpc") {
    stream.respond({ ":status": 200, "content-length": kibibyte.length });
    stream.end(kibibyte);
    return;
  }
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.end(message);
}
