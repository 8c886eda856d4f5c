import net from "node:net";
import type { TLSSocket } from "node:tls";
import { messageOf } from "../../base/mesh-error.ts";
import { HalfOpen, sourceOf } from "../../transport/index.ts";
import {
  type Answer,
  problemAnswer,
  type RequestHead,
  type RequestObserver,
  serveHttp,
  type Verdict,
} from "../forwarding/index.ts";
import { headerLines } from "../http1/index.ts";
import { defaultHttp2Limits, type Http2Limits } from "../http2/index.ts";
import { listen } from "../listen.ts";
import { type EdgeClient, type EdgeContext, EdgeRequest } from "./edge-request.ts";
import { EdgeTls, type UsableCertificate } from "./edge-tls.ts";
import type { EdgeListenerSettings } from "./gateway-settings.ts";

const connectionsMax = 10_000;
/** Of one client address, in their handshake. */
const edgeHalfOpenMax = 512;
/** How long the requests in progress have when a listener goes away. */
const edgeDrainMillisMax = 10_000;

/** Whoever comes has less room than a proxy of the mesh: what waits to be taken on one connection, and requests at once. */
const edgeHttp2Limits: Http2Limits = {
  ...defaultHttp2Limits,
  peerStreamsMax: 100,
  unconsumedBytesMax: 100 * defaultHttp2Limits.streamWindowBytes,
};

/** The limits of this file, for whoever wants to see them. */
export const edgeLimits: Readonly<Record<string, number>> = {
  connectionsMax,
  edgeHalfOpenMax,
  edgeDrainMillisMax,
};

/** A port for clients from outside. */
export interface Edge extends AsyncDisposable {
  /** host:port. */
  readonly address: string;
  /** Goes by new settings of the same port, for handshakes and requests from now on. */
  readonly use: (settings: EdgeListenerSettings, certificates: readonly UsableCertificate[]) => void;
  /** Ends the connections there are with the requests that each carries; new ones are taken. */
  readonly endConnections: () => void;
  /** Takes no new connections, and ends those there are with their requests; resolves when all have ended, or after a while. */
  readonly drain: () => Promise<void>;
}

/** A client's connection that is being served, whatever is spoken on it. */
interface ServedClient {
  close(): void;
  destroy(): void;
}

/** How a port is opened. */
interface EdgeOptions {
  readonly settings: EdgeListenerSettings;
  /** None for plain HTTP. */
  readonly certificates: readonly UsableCertificate[];
}

/** Opens a port for clients from outside: ordinary TLS or plain HTTP in, strict HTTP, and a way to a service of the mesh. */
export async function openEdge(edge: EdgeContext, options: EdgeOptions): Promise<Edge> {
  const port = new EdgePort(edge, options);
  await port.listen();
  return port;
}

class EdgePort implements Edge {
  address = "";
  readonly #edge: EdgeContext;
  readonly #tls: EdgeTls | undefined;
  readonly #server: net.Server;
  readonly #halfOpen = new HalfOpen(edgeHalfOpenMax);
  readonly #sockets = new Set<net.Socket>();
  readonly #served = new Set<ServedClient>();
  #settings: EdgeListenerSettings;
  #isDraining = false;

  constructor(edge: EdgeContext, { settings, certificates }: EdgeOptions) {
    this.#edge = edge;
    this.#settings = settings;
    const tls = certificates.length === 0 ? undefined : new EdgeTls(certificates);
    this.#tls = tls;
    this.#server = tls?.server ?? net.createServer({ noDelay: true });
    this.#server.maxConnections = connectionsMax;
    this.#server.on("connection", (socket) => this.#take(socket));
    tls?.server.on("tlsClientError", (_error, socket) => {
      // Anybody may come here, so it is counted and not written down.
      edge.context.metrics.refusedConnections.inbound.add("handshake-failed");
      socket.destroy();
    });
    tls?.server.on("secureConnection", (socket) => {
      this.#halfOpen.settle(socket);
      this.#serve(socket);
    });
  }

  async listen(): Promise<void> {
    this.address = await listen(this.#server, this.#settings, this.#edge.context.log);
  }

  use(settings: EdgeListenerSettings, certificates: readonly UsableCertificate[]): void {
    this.#settings = settings;
    this.#tls?.use(certificates);
  }

  endConnections(): void {
    for (const connection of this.#served) connection.close();
  }

  drain(): Promise<void> {
    this.#isDraining = true;
    return new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, edgeDrainMillisMax);
      this.#server.close(() => {
        clearTimeout(timer);
        resolve();
      });
      this.endConnections();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of this.#served) connection.destroy();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #take(socket: net.Socket): void {
    const { sources, context } = this.#edge;
    const source = sourceOf(socket);
    if (!sources.addConnection(source)) {
      context.metrics.refusedConnections.inbound.add("too-many-connections");
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once("close", () => {
      sources.removeConnection(source);
      this.#sockets.delete(socket);
    });
    if (this.#tls === undefined) this.#serve(socket);
    else this.#halfOpen.add(socket);
  }

  #serve(socket: net.Socket | TLSSocket): void {
    const client: EdgeClient = {
      source: sourceOf(socket),
      address: (socket.remoteAddress ?? "").replace(/^::ffff:(?=[0-9.]+$)/, ""),
      scheme: this.#tls === undefined ? "http" : "https",
    };
    const redirectPort = this.#settings.redirectToHttpsPort;
    const connection = serveClient(this.#edge, socket, { client, redirectPort });
    this.#served.add(connection);
    socket.once("close", () => this.#served.delete(connection));
    if (this.#isDraining) connection.close();
  }
}

/** Serves what the client speaks: by what was agreed in the handshake, or, in plain, by its first bytes. */
function serveClient(
  edge: EdgeContext,
  socket: net.Socket | TLSSocket,
  { client, redirectPort: port }: { readonly client: EdgeClient; readonly redirectPort: number | undefined },
): ServedClient {
  const { timer, log, violations, randomBytes } = edge.context;
  const observe = (version: "1" | "2"): RequestObserver =>
    port === undefined ? new EdgeRequest(edge, client, version) : new Redirect(edge, port);
  const audience = "stranger";
  const tunnels = { kinds: ["websocket"], randomBytes } as const;
  const onFault = (fault: unknown): void => log.error("fault while serving", { error: messageOf(fault) });
  return serveHttp(socket, {
    observe,
    timer,
    tunnels,
    audience,
    http2Limits: edgeHttp2Limits,
    isHttp2: "alpnProtocol" in socket && socket.alpnProtocol === "h2",
    onFault,
    onViolation: () => violations.of("inbound", client.source),
  });
}

/** Sends every client of a host that is served to the same place under `https`. */
class Redirect implements RequestObserver {
  readonly #edge: EdgeContext;
  readonly #port: number;

  constructor(edge: EdgeContext, port: number) {
    this.#edge = edge;
    this.#port = port;
  }

  decide({ host, target }: RequestHead): Verdict {
    if (!this.#edge.routes().serves(host))
      return problemAnswer({ status: 421, reason: "host-not-served" }, "stranger");
    const name = host.replace(/:[0-9]*$/, "");
    const authority = this.#port === 443 ? name : `${name}:${this.#port}`;
    return redirectTo(`https://${authority}${target === "*" ? "/" : target}`);
  }

  onComplete(): void {
    this.#edge.context.metrics.requests.outbound.add("redirected");
  }
}

function redirectTo(url: string): Answer {
  const headers = headerLines([["Location", url]]);
  return { kind: "answer", status: 308, headers, body: new Uint8Array(0), summary: url };
}
