import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { freePort } from "../../src/cli/free-port.ts";
import { meshDirectory, requireKnownDomain } from "../../src/cli/mesh-directory.ts";
import { type GrantedSvid, obtainSvid } from "../../test/apparatus/granted-svid.ts";
import { processesMarked } from "../../test/apparatus/marked-processes.ts";
import { RunningCommand, runCommand } from "../../test/apparatus/running-command.ts";
import type { RunningMesh } from "../../test/apparatus/running-mesh.ts";
import { pinned } from "../cores.ts";
import { type Pair, type Peer, type Stage, untilListening } from "./pair.ts";

const readyMillisMax = 90_000;
const commandMillisMax = 60_000;
const pollMillis = 200;
const clientService = "/bench/client";
const appService = "/bench/app";

const statusSchema = z.looseObject({
  instances: z.array(z.looseObject({ service: z.string(), isServing: z.boolean(), address: z.string() })),
});

/** A build of Troth, and how its sidecars are run. */
export interface TrothBuild {
  /** Root of a checkout with its packages. */
  readonly root: string;
  readonly name: string;
  /** For all of its processes. */
  readonly env?: Readonly<Record<string, string>>;
  /** Without request tokens; as the mesh is founded unless given. */
  readonly requestTokens?: "off";
}

/** Two sidecars of a mesh of its own: control plane, trust log and node agent run beside, every check and log is on. */
export function trothPeer(build: TrothBuild): Peer {
  return {
    name: build.name,
    about:
      "two sidecars of a real mesh with all checks, decisions and audit logs; its agents on the client's core",
    find: () => ({ version: "" }),
    open: (stage) => openTrothPair(build, stage),
  };
}

async function openTrothPair(build: TrothBuild, stage: Stage): Promise<Pair> {
  await using stack = new AsyncDisposableStack();
  const path = mkdtempSync(join(stage.folder, "mesh-"));
  const troth = new Troth(build, path);
  const up = stack.use(
    troth.start(stage.cores.client, [
      "up",
      "--listen",
      `127.0.0.1:${await freePort()}`,
      "--log-level",
      "warn",
    ]),
  );
  const readyLine = await up.untilLine(/^ready/, readyMillisMax);
  const run = async (service: string, appPort: number): Promise<{ port: number; pid: number }> => {
    const port = await freePort();
    const ports = ["--outbound-port", String(port), "--app-port", String(appPort)];
    // The application runs already; what is run here only keeps its place.
    const args = ["run", "--service", service, ...ports, "--log-level", "warn", "--", "sleep", "604800"];
    const command = stack.use(troth.start(stage.cores.proxies, args));
    await untilListening(port, command);
    return { port, pid: sidecarOf(command) };
  };
  const inbound = await run(appService, stage.appPort);
  const outbound = await run(clientService, await freePort());
  const meshAddress = await untilServing(troth);
  await troth.do("allow", clientService, appService);
  if (build.requestTokens === "off") await troth.do("token", "policy", "/*", "off");
  const directory = meshDirectory(path);
  const domain = await requireKnownDomain(directory);
  const mesh: RunningMesh = {
    path,
    directory,
    domain,
    command: up,
    readyLine,
    [Symbol.asyncDispose]: async () => {},
  };
  const running = stack.move();
  return {
    address: `127.0.0.1:${outbound.port}`,
    host: "app.bench.mesh",
    outbound: [outbound.pid],
    inbound: [inbound.pid],
    mesh: {
      address: meshAddress,
      host: "app.bench.mesh",
      openCredentials: () => openCredentials(troth, mesh),
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** What the measuring client shows; it is no proxy and mints no request tokens, so none are asked for meanwhile. */
async function openCredentials(troth: Troth, mesh: RunningMesh): Promise<GrantedSvid> {
  await using stack = new AsyncDisposableStack();
  const { instance, credentials, advertise } = stack.use(await obtainSvid(mesh, clientService));
  await troth.exempt(appService, stack);
  const opened = stack.move();
  return { instance, credentials, advertise, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** The command line of one build over one mesh directory. */
class Troth {
  readonly #build: TrothBuild;
  readonly #path: string;

  constructor(build: TrothBuild, path: string) {
    this.#build = build;
    this.#path = path;
  }

  start(core: number | undefined, args: readonly string[]): RunningCommand {
    return new RunningCommand(...pinned(core, process.execPath, this.#arguments(args)), {
      env: this.#build.env ?? {},
    });
  }

  /** Runs a command to its end; throws what it says when it fails. */
  async do(...args: readonly string[]): Promise<string> {
    const ended = await runCommand(process.execPath, this.#arguments(args), {
      timeoutMillis: commandMillisMax,
    });
    if (ended.code !== 0)
      throw new Error(`troth ${args[0]} ended with ${ended.code}: ${ended.stderr.trim()}`);
    return ended.stdout;
  }

  /** Has requests to a service go without request tokens until the stack is closed; a build of before knows none. */
  async exempt(service: string, stack: AsyncDisposableStack): Promise<void> {
    const told = await this.do("token", "policy", service, "off").catch(() => undefined);
    if (told === undefined) return;
    stack.defer(async () => {
      await this.do("delete", "requesttokenpolicy", service);
    });
  }

  #arguments(args: readonly string[]): string[] {
    return [join(this.#build.root, "src", "cli", "main.ts"), "--dir", this.#path, ...args];
  }
}

/** Waits until the application's instance is advertised; its address. */
async function untilServing(troth: Troth): Promise<string> {
  const deadline = performance.now() + readyMillisMax;
  for (;;) {
    const { instances } = statusSchema.parse(JSON.parse(await troth.do("status", "-o", "json")));
    const found = instances.find(({ service, isServing }) => service === appService && isServing);
    if (found !== undefined) return found.address;
    if (performance.now() > deadline) throw new Error(`${appService} does not serve`);
    await sleep(pollMillis);
  }
}

function sidecarOf(command: RunningCommand): number {
  const found = processesMarked(command.mark).find(({ command: words }) => words.includes("sidecar"));
  if (found === undefined) throw new Error(`no sidecar was started: ${command.tail()}`);
  return found.pid;
}
