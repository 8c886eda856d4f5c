import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../src/cli/free-port.ts";
import { OperatorClient } from "../../src/cli/operator-client.ts";
import { sidecarEnvironment, sidecarFlags } from "../../src/cli/sidecar-runtime.ts";
import type { RunningCommand } from "./running-command.ts";
import { type RunningMesh, startTroth } from "./running-mesh.ts";

const startingMax = 8;
const startMillisMax = 240_000;
const pollMillis = 50;
const registrationsPerAppend = 50;
const eventMillis = 200;
const keepAliveMillis = 600_000;

/** Many sidecars, each a process of its own, in front of one application that they share. */
export interface SidecarFleet extends AsyncDisposable {
  readonly services: readonly string[];
  readonly sidecars: readonly RunningCommand[];
  readonly startSeconds: number;
  /** Resident memory of each sidecar, in bytes, in ascending order. */
  readonly residentBytes: () => number[];
}

/** Registers `services` services, and starts so many sidecars of each; resolves when all of them serve. */
export async function openSidecarFleet(
  mesh: RunningMesh,
  size: { readonly services: number; readonly instancesPerService: number },
): Promise<SidecarFleet> {
  await using stack = new AsyncDisposableStack();
  const started = performance.now();
  const services = Array.from({ length: size.services }, (_, number) => `/fleet/service-${number + 1}`);
  using client = await OperatorClient.open(mesh.directory);
  for (let from = 0; from < services.length; from += registrationsPerAppend)
    await client.append(services.slice(from, from + registrationsPerAppend).map(registrationOf));

  const app = await openSharedApp();
  stack.defer(() => app.close());
  const sidecars: RunningCommand[] = [];
  // Nobody waits for them to finish what they do, and a hundred that drain at once take their time.
  stack.defer(async () => {
    for (const sidecar of sidecars) sidecar.kill("SIGKILL");
    await Promise.all(sidecars.map((sidecar) => sidecar[Symbol.asyncDispose]()));
  });
  const wanted = services.flatMap((service) => Array<string>(size.instancesPerService).fill(service));
  const deadline = performance.now() + startMillisMax;
  let serving = 0;
  for (let next = 0; serving < wanted.length; ) {
    for (; next < wanted.length && next - serving < startingMax; next += 1)
      sidecars.push(await startSidecar(mesh, wanted[next] ?? "", app.port));
    await sleep(pollMillis);
    const { followers } = await client.admin.getStatus({});
    serving = followers.filter(({ address, service }) => address !== "" && services.includes(service)).length;
    if (performance.now() > deadline)
      throw new Error(`${serving} of ${wanted.length} sidecars serve: ${sidecars[serving]?.tail()}`);
  }
  const startSeconds = (performance.now() - started) / 1000;
  const opened = stack.move();
  return {
    services,
    sidecars,
    startSeconds,
    residentBytes: () => sidecars.map(({ pid }) => residentBytesOf(pid)).sort((left, right) => left - right),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** The memory that a process holds, in bytes; 0 where it or procfs is not there. */
export function residentBytesOf(pid: number): number {
  try {
    const kibibytes = /^VmRSS:\s+([0-9]+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return Number(kibibytes ?? 0) * 1024;
  } catch {
    return 0;
  }
}

function registrationOf(name: string): Parameters<OperatorClient["append"]>[0][number] {
  const body = { name, nodes: ["*"], dataClass: "internal", team: "", environment: "", labels: {} };
  return { kind: "service.put", body };
}

async function startSidecar(mesh: RunningMesh, service: string, appPort: number): Promise<RunningCommand> {
  const ports = ["--app-port", String(appPort), "--outbound-port", String(await freePort())];
  return startTroth(
    mesh.path,
    ["sidecar", "--service", service, ...ports],
    sidecarEnvironment(),
    sidecarFlags,
  );
}

/** The least application, in this process; it also takes whatever is said over a WebSocket, and streams events. */
async function openSharedApp(): Promise<{ readonly port: number; readonly close: () => Promise<void> }> {
  const server = http.createServer((request, response) => {
    if (request.url === "/events") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const timer = setInterval(() => response.write("data: tick\n\n"), eventMillis);
      response.once("close", () => clearInterval(timer));
      return;
    }
    response.writeHead(200, { "content-type": "text/plain" }).end("ok\n");
  });
  const upgraded = new Set<Duplex>();
  server.keepAliveTimeout = keepAliveMillis;
  server.on("upgrade", (request, socket) => {
    const key = `${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash("sha1").update(key).digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    socket.on("error", () => socket.destroy());
    upgraded.add(socket);
    socket.once("close", () => upgraded.delete(socket));
    // A text frame of a server, whatever was asked.
    socket.on("data", () => socket.write(Buffer.from([0x81, 0x02, 0x6f, 0x6b])));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      for (const socket of upgraded) socket.destroy();
      return closed;
    },
  };
}
