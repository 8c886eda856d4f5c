import tls from "node:tls";
import type { Credentials } from "./hostile-certificates.ts";

const answerMillisMax = 6_000;
/** Session tickets come after the handshake; a client that wants to resume waits for them. */
const ticketMillis = 300;

/** What a TLS client saw. */
export interface TlsAnswer {
  /** Bytes that an application sent, as text. */
  readonly answer: string;
  readonly millis: number;
  readonly isResumed: boolean;
  /** Sessions that the server offered for resumption. */
  readonly sessions: readonly Buffer[];
}

/** Connects to a mesh listener past any sidecar, sends one request, and waits for the end of the connection. */
export function askOverTls(ask: {
  readonly address: string;
  readonly credentials: Credentials;
  readonly request: string;
  readonly session?: Buffer;
}): Promise<TlsAnswer> {
  const [host = "", port = ""] = ask.address.split(":");
  const started = performance.now();
  return new Promise((resolve) => {
    const sessions: Buffer[] = [];
    let answer = "";
    let isResumed = false;
    const socket = tls.connect({
      host,
      port: Number(port),
      ...ask.credentials,
      ...(ask.session === undefined ? {} : { session: ask.session }),
      ALPNProtocols: ["http/1.1"],
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    const timer = setTimeout(() => socket.destroy(), answerMillisMax);
    socket.on("session", (session) => sessions.push(session));
    socket.on("secureConnect", () => {
      isResumed = socket.isSessionReused();
      socket.write(ask.request);
    });
    socket.on("data", (chunk: Buffer) => {
      answer += chunk.toString("latin1");
      // An answer was all that was wanted to know.
      setTimeout(() => socket.destroy(), ticketMillis);
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(timer);
      resolve({ answer, millis: performance.now() - started, isResumed, sessions });
    });
  });
}
