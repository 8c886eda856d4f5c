import { once } from "node:events";
import http2 from "node:http2";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import { hostAndPort } from "../../src/base/host-and-port.ts";
import type { Credentials } from "./hostile-certificates.ts";

/** What is spoken on a connection that is held. */
export type HeldKind = "http1" | "link" | "websocket" | "tcp";

/** An instance's own connection to a sidecar, past any sidecar of its own, that goes on asking until it is cut. */
export interface HeldConnection extends Disposable {
  readonly kind: HeldKind;
  /** The instance behind the sidecar. */
  readonly to: string;
  /** When the last answer, or piece of one, came; by `performance.now()`. */
  readonly answeredMillis: () => number;
  readonly answers: () => number;
  /** When the connection ended; undefined while it is open. */
  readonly closedMillis: () => number | undefined;
  readonly closed: Promise<void>;
  /** Asks again so long after every answer; until then it only holds. */
  readonly goOn: (everyMillis: number) => void;
}

const openMillisMax = 20_000;
const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const upgrade =
  "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/** A text frame of a client, masked with noughts. */
const frame = Buffer.from([0x81, 0x84, 0, 0, 0, 0, 0x70, 0x69, 0x6e, 0x67]);

/** Opens a connection of a kind and waits for its first answer. */
export async function holdConnection(
  kind: HeldKind,
  peer: { readonly instance: string; readonly address: string },
  credentials: Credentials,
): Promise<HeldConnection> {
  const socket = tls.connect({
    ...hostAndPort(peer.address),
    ...credentials,
    rejectUnauthorized: false,
    ALPNProtocols: [kind === "link" || kind === "tcp" ? "h2" : "http/1.1"],
  });
  let answers = 0;
  let answeredMillis = 0;
  let closedMillis: number | undefined;
  let everyMillis: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  const first = Promise.withResolvers<void>();
  const closed = new Promise<void>((resolve) =>
    socket.once("close", () => {
      closedMillis = performance.now();
      clearTimeout(timer);
      first.reject(new Error(`${kind} to ${peer.address} was closed`));
      resolve();
    }),
  );
  socket.on("error", () => {});
  await within(once(socket, "secureConnect"), `a handshake with ${peer.address}`);
  const ask = asker(kind, socket, () => {
    answers += 1;
    answeredMillis = performance.now();
    first.resolve();
    if (everyMillis !== undefined) timer = setTimeout(ask, everyMillis);
  });
  ask();
  await within(first.promise, `an answer over ${kind} from ${peer.address}`);
  return {
    kind,
    to: peer.instance,
    answers: () => answers,
    answeredMillis: () => answeredMillis,
    closedMillis: () => closedMillis,
    closed,
    goOn: (every) => {
      const isFirst = everyMillis === undefined;
      everyMillis = every;
      if (isFirst) timer = setTimeout(ask, every);
    },
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      socket.destroy();
    },
  };
}

/** What asks once; `answered` is called with every answer. */
function asker(kind: HeldKind, socket: tls.TLSSocket, answered: () => void): () => void {
  if (kind === "http1" || kind === "websocket") {
    socket.on("data", answered);
    let isUpgraded = kind === "http1";
    return () => {
      socket.write(isUpgraded ? (kind === "http1" ? get : frame) : upgrade);
      isUpgraded = true;
    };
  }
  const client = http2.connect("https://x", { createConnection: () => socket });
  client.on("error", () => {});
  if (kind === "link")
    return () => {
      const stream = client.request({ ":path": "/", ":authority": "x" });
      stream.on("error", () => {});
      stream.once("response", answered);
      stream.resume();
    };
  const tunnel = client.request({ ":method": "CONNECT", ":authority": "x:80" });
  listen(tunnel, answered);
  return () => void tunnel.write(get);
}

function listen(stream: Duplex, answered: () => void): void {
  stream.on("error", () => {});
  stream.on("data", answered);
}

async function within<Value>(promise: Promise<Value>, what: string): Promise<Value> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`no ${what}`)), openMillisMax);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
