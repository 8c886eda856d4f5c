import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import { z } from "zod";
import { openRouter, openSidecar, type ProxyOptions } from "../../src/data-plane/index.ts";
import { parseServiceName, type ServiceName } from "../../src/identity/index.ts";
import { openMemoryJournal } from "../../src/storage/index.ts";
import { parseVerifierKey } from "../../src/trust-log/index.ts";
import { silentLog } from "../fakes/silent-log.ts";
import { upgradeAnswer } from "../fuzz/web-socket-ends.ts";
import { randomBytes } from "./mesh-in-process.ts";
import { shiftedClock } from "./shifted-clock.ts";
import { openTcpApp } from "./tcp-app.ts";

/** What a process in a network namespace of its own runs: applications behind sidecars, or routers. */
const planSchema = z.object({
  genesis: z.string(),
  logKey: z.string(),
  trustDomain: z.string(),
  agentSocketPath: z.string(),
  /** Where Unix sockets lead to what listens on its loopback, which can be reached from nowhere else. */
  folder: z.string(),
  sidecars: z.array(
    z.object({ service: z.string(), speaks: z.enum(["http", "tcp"]), tcp: z.array(z.string()) }),
  ),
  routers: z.array(z.object({ service: z.string(), host: z.string() })),
});

/** The plan of such a process. */
export type ZonePlan = z.infer<typeof planSchema>;

/** The socket in the folder by which a part of a service is reached. */
export function socketOf(folder: string, service: string, part: "outbound" | "tcp" | "admin"): string {
  return join(folder, `${service.slice(1).replaceAll("/", ".")}.${part}`);
}

async function run(plan: ZonePlan): Promise<void> {
  const lead = async (path: string, address: string): Promise<void> => {
    const [host = "", port = ""] = address.split(":");
    const server = net.createServer({ allowHalfOpen: true }, (near) => {
      const far = net.connect({ host, port: Number(port), allowHalfOpen: true });
      near.on("error", () => far.destroy());
      far.on("error", () => near.destroy());
      near.on("close", () => far.destroy());
      far.on("close", () => near.destroy());
      near.pipe(far);
      far.pipe(near);
    });
    server.listen(path);
    await once(server, "listening");
  };
  for (const { service, speaks, tcp } of plan.sidecars) {
    const app =
      speaks === "http" ? await openHttpApp() : await openTcpApp(({ socket }) => socket.pipe(socket));
    const sidecar = await openSidecar({
      ...proxyOptions(plan, service),
      app: { host: "127.0.0.1", port: app.port, protocol: "auto" },
      inbound: { host: "127.0.0.1", port: 0 },
      outbound: { host: "127.0.0.1", port: 0 },
      tcp: tcp.map((name) => ({ service: nameOf(name), listenOn: { host: "127.0.0.1", port: 0 } })),
    });
    await lead(socketOf(plan.folder, service, "outbound"), sidecar.outboundAddress);
    await lead(socketOf(plan.folder, service, "admin"), sidecar.adminAddress);
    for (const address of sidecar.tcpAddresses) await lead(socketOf(plan.folder, service, "tcp"), address);
  }
  for (const { service, host } of plan.routers)
    await openRouter({ ...proxyOptions(plan, service), listenOn: { host, port: 0 } });
}

function proxyOptions(plan: ZonePlan, service: string): ProxyOptions {
  const logKey = parseVerifierKey(plan.logKey);
  if (!logKey.ok) throw new Error(logKey.reason);
  return {
    service: nameOf(service),
    instance: randomUUID(),
    anchor: { genesis: plan.genesis, logKey: logKey.value, trustDomain: plan.trustDomain },
    agentSocketPath: plan.agentSocketPath,
    audit: { journal: openMemoryJournal(), saveCheckpoint: () => Promise.resolve() },
    clock: shiftedClock(),
    random: Math.random,
    randomBytes,
    log: silentLog,
  };
}

function nameOf(text: string): ServiceName {
  const name = parseServiceName(text);
  if (!name.ok) throw new Error(name.reason);
  return name.value;
}

/** Answers with the length and the digest of what it was sent, and repeats what comes through a WebSocket. */
async function openHttpApp(): Promise<{ readonly port: number }> {
  const server = http.createServer((request, response) => {
    const hash = createHash("sha256");
    let length = 0;
    request.on("data", (chunk: Buffer) => {
      hash.update(chunk);
      length += chunk.length;
    });
    request.on("end", () => response.end(`${length} ${hash.digest("hex")}`));
  });
  server.on("upgrade", (request, socket, head) => {
    socket.write(upgradeAnswer(String(request.headers["sec-websocket-key"])));
    socket.write(head);
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => socket.write(chunk));
    socket.on("end", () => socket.end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return { port: typeof address === "object" && address !== null ? address.port : 0 };
}

if (import.meta.main) {
  process.stdin.on("end", () => process.exit(0));
  // Its network is set up meanwhile.
  process.stdin.once("data", () => {
    run(planSchema.parse(JSON.parse(process.argv[2] ?? ""))).then(
      () => process.stdout.write("ready\n"),
      (error: unknown) => {
        process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
        process.exit(1);
      },
    );
  });
}
