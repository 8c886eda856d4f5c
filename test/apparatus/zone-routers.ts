import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { Transform } from "node:stream";
import tls from "node:tls";
import { freePort } from "../../src/cli/free-port.ts";
import {
  type ExportedCredentials,
  openExport,
  openRouter,
  type Router,
  type RouterLimits,
} from "../../src/data-plane/index.ts";
import { type Journal, openMemoryJournal } from "../../src/storage/index.ts";
import { routerLabels } from "../../src/trust-log/index.ts";
import type { MeshInProcess } from "./mesh-in-process.ts";
import type { ShiftedClock } from "./shifted-clock.ts";
import { ask } from "./workload.ts";

/** A router in a mesh in this process, and what it has written down. */
export class RouterInProcess implements AsyncDisposable {
  readonly router: Router;
  readonly instance: string;
  readonly #journal: Journal;
  #isClosed = false;

  constructor(router: Router, instance: string, journal: Journal) {
    this.router = router;
    this.instance = instance;
    this.#journal = journal;
  }

  /** What stands in its audit log on disk. */
  async audit(): Promise<Record<string, unknown>[]> {
    const records: Record<string, unknown>[] = [];
    for await (const entry of this.#journal.read(0, this.#journal.size))
      records.push(JSON.parse(Buffer.from(entry).toString()));
    return records;
  }

  /** One line of its metrics, by all that stands before the value; 0 where it is not there. */
  async metric(line: string): Promise<number> {
    const [host, port] = this.router.adminAddress.split(":");
    const { body } = await ask({ host, port, path: "/metrics", agent: false });
    return Number(
      body
        .split("\n")
        .find((one) => one.startsWith(`${line} `))
        ?.slice(line.length) ?? 0,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.router[Symbol.asyncDispose]();
  }
}

/** Declares a service of routers, unless it is one. */
export async function putRouterService(mesh: MeshInProcess, name: string): Promise<void> {
  if (mesh.controlPlane.writer.state.services.has(name)) return;
  const about = { nodes: ["*"], dataClass: "internal", team: "", environment: "" };
  await mesh.put("service.put", { name, ...about, labels: routerLabels });
}

/** Opens a router on the node behind an agent's socket. */
export async function openRouterIn(
  mesh: MeshInProcess,
  service: string,
  options: {
    readonly agentSocketPath: string;
    readonly limits?: RouterLimits;
    readonly clock?: ShiftedClock;
  },
): Promise<RouterInProcess> {
  await putRouterService(mesh, service);
  const { limits, ...of } = options;
  const journal = openMemoryJournal();
  const proxy = mesh.proxyOptions(service, { ...of, journal });
  const listenOn = { host: "127.0.0.1", port: 0 };
  const router = await openRouter({ ...proxy, listenOn, ...(limits === undefined ? {} : { limits }) });
  return new RouterInProcess(router, proxy.instance, journal);
}

/** What a router that has been taken over does with what it carries. */
export type Attack = "read" | "flip-to-callee" | "flip-to-caller" | "impersonate";

/** A router with its own good identity that does as it likes. */
export interface HostileRouter extends AsyncDisposable {
  readonly instance: string;
  attack: Attack;
  /** Everything that came through it, either way, as it saw it. */
  readonly seen: () => Buffer;
  /** Tunnels that it was asked for. */
  readonly tunnels: () => number;
  /** What callers have told it where it pretended to be their destination, in plain text. */
  readonly told: () => string;
}

/** Bytes of a handshake and a first request or answer; what is flipped comes after. */
const flipAfterBytes = 3_000;

/** Opens one: a program with the exported credentials of a service that operators have declared to be a router. */
export async function openHostileRouter(
  mesh: MeshInProcess,
  service: string,
  agentSocketPath: string,
): Promise<HostileRouter> {
  await putRouterService(mesh, service);
  const port = await freePort();
  const saved = Promise.withResolvers<ExportedCredentials>();
  const proxy = mesh.proxyOptions(service, { agentSocketPath });
  const identity = await openExport({
    ...proxy,
    peer: { host: "127.0.0.1", port },
    save: (credentials) => Promise.resolve(saved.resolve(credentials)),
  });
  const { chainPem: cert, privateKeyPem: key } = await saved.promise;
  const options = { cert, key, requestCert: true, rejectUnauthorized: false, minVersion: "TLSv1.3" } as const;
  const pieces: Buffer[] = [];
  let told = "";
  let tunnels = 0;
  const impostor = tls.createServer({ ...options, ALPNProtocols: ["h2", "http/1.1"] }, (socket) => {
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      told += chunk.toString("latin1");
    });
  });
  impostor.on("tlsClientError", () => {});
  const server = http2.createSecureServer(options);
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  const hostile: HostileRouter = {
    instance: proxy.instance,
    attack: "read",
    seen: () => Buffer.concat(pieces),
    tunnels: () => tunnels,
    told: () => told,
    [Symbol.asyncDispose]: async () => {
      for (const session of sessions) session.destroy();
      server.close();
      await identity[Symbol.asyncDispose]();
    },
  };
  server.on("stream", (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    tunnels += 1;
    stream.on("error", () => {});
    stream.respond({ ":status": 200 });
    if (hostile.attack === "impersonate") return void impostor.emit("connection", stream);
    const [host = "", farPort = ""] = (headers[":authority"] ?? "").split(":");
    const far = net.connect(Number(farPort), host);
    far.on("error", () => stream.destroy());
    stream.on("close", () => far.destroy());
    const keep = (chunk: Buffer): void => {
      pieces.push(chunk);
    };
    stream.pipe(passing(hostile.attack === "flip-to-callee", keep)).pipe(far);
    far.pipe(passing(hostile.attack === "flip-to-caller", keep)).pipe(stream);
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return hostile;
}

/** Passes bytes on, and flips a bit of one of them, once, if it is to. */
function passing(isFlipping: boolean, keep: (chunk: Buffer) => void): Transform {
  let passed = 0;
  let hasFlipped = !isFlipping;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      keep(chunk);
      passed += chunk.length;
      if (!hasFlipped && passed > flipAfterBytes) {
        hasFlipped = true;
        const other = Buffer.from(chunk);
        other[other.length - 1] = (other.at(-1) ?? 0) ^ 1;
        return done(null, other);
      }
      done(null, chunk);
    },
  });
}
