import { basename, join } from "node:path";
import { z } from "zod";
import { freePort } from "../../src/cli/free-port.ts";
import {
  type KnownDomain,
  type MeshDirectory,
  meshDirectory,
  requireKnownDomain,
} from "../../src/cli/mesh-directory.ts";
import { temporaryFolder } from "../contracts/temporary-folder.ts";
import { processesMarked } from "./marked-processes.ts";
import { type Ended, RunningCommand, runCommand } from "./running-command.ts";

/** The root of this checkout. */
export const repository: string = join(import.meta.dirname, "..", "..");

const readyMillisMax = 90_000;
const cliMillisMax = 30_000;
const pollMillis = 100;

const statusSchema = z.looseObject({
  treeSize: z.number(),
  epoch: z.looseObject({ number: z.number(), timeSeconds: z.number() }),
  uptimeSeconds: z.number(),
  nodes: z.array(
    z.looseObject({
      node: z.string(),
      size: z.number(),
      isConnected: z.boolean(),
      lastReportSecondsAgo: z.number(),
    }),
  ),
  instances: z.array(
    z.looseObject({
      service: z.string(),
      instance: z.string(),
      isServing: z.boolean(),
      address: z.string(),
      adminAddress: z.string(),
      size: z.number(),
      stalenessSeconds: z.number(),
      requestsForwarded: z.number(),
      certificateNotAfterSeconds: z.number(),
    }),
  ),
  alarms: z.array(z.looseObject({ reason: z.string(), detail: z.string(), secondsAgo: z.number() })),
});

/** What `troth status -o json` says. */
export type MeshStatus = z.infer<typeof statusSchema>;

/** One row of it. */
export type InstanceStatus = MeshStatus["instances"][number];

/** Reads the answer of `troth status -o json`; throws where it is none. */
export function parseStatus(text: string): MeshStatus {
  return statusSchema.parse(JSON.parse(text));
}

/** Runs `troth` of this checkout to its end, over a mesh directory. */
export function troth(path: string, ...args: readonly string[]): Promise<Ended> {
  return runCommand(process.execPath, trothArguments(path, args), { timeoutMillis: cliMillisMax });
}

/** Starts `troth` of this checkout, for commands that stay. */
export function startTroth(
  path: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  flags: readonly string[] = [],
): RunningCommand {
  return new RunningCommand(process.execPath, [...flags, ...trothArguments(path, args)], { env });
}

function trothArguments(path: string, args: readonly string[]): string[] {
  return [join(repository, "src", "cli", "main.ts"), "--dir", path, ...args];
}

/** A mesh of real processes. */
export interface RunningMesh extends AsyncDisposable {
  readonly path: string;
  readonly directory: MeshDirectory;
  readonly domain: KnownDomain;
  readonly command: RunningCommand;
  /** The line that began with `ready`. */
  readonly readyLine: string;
}

/** How a mesh is started. */
export interface MeshOptions {
  /** `demo` has the shop in it, under load. */
  readonly kind: "up" | "demo";
  /** An existing directory; a temporary one otherwise, which goes away with the mesh. */
  readonly path?: string;
  /** host:port of the control plane; a free port of loopback otherwise. */
  readonly address?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** For callers that mint no request tokens: strangers to the trust domain, and members that are no proxies of Troth's. */
  readonly requestTokens?: "off";
}

/** Starts a mesh on free ports of loopback and waits until it says that it is ready. */
export async function openMesh(options: MeshOptions): Promise<RunningMesh> {
  await using stack = new AsyncDisposableStack();
  const path = options.path ?? stack.use(await temporaryFolder()).path;
  const listen = ["--listen", options.address ?? `127.0.0.1:${await freePort()}`];
  const quiet = options.kind === "demo" ? ["--quiet"] : [];
  const args = [options.kind, ...listen, ...quiet, ...(options.args ?? [])];
  const command = stack.use(startTroth(path, args, options.env));
  const readyLine = await command.untilLine(/^ready/, readyMillisMax);
  const directory = meshDirectory(path);
  const domain = await requireKnownDomain(directory);
  if (options.requestTokens === "off") await waiveRequestTokens({ path }, "/*");
  const opened = stack.move();
  return {
    path,
    directory,
    domain,
    command,
    readyLine,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** An application behind its sidecar, started with `troth run`. */
export interface RunningService extends AsyncDisposable {
  readonly command: RunningCommand;
  /** host:port on which the sidecar takes the application's own requests. */
  readonly outboundAddress: string;
  /** What the mesh says of it. */
  readonly status: InstanceStatus;
}

/** What is run behind a sidecar, where it is not the small web application. */
export interface AppOptions {
  /** It listens at the port in PORT, or, where `port` is given, something else listens there. */
  readonly command?: readonly string[];
  readonly port?: number;
  /** What it speaks; the sidecar's own choice unless given. */
  readonly protocol?: "http1" | "http2";
  /** More arguments of `troth run`. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

const smallApp = apparatus("small-app.ts");

/** What runs a program of this folder. */
export function apparatus(script: string): readonly string[] {
  return [process.execPath, join(import.meta.dirname, script)];
}

/** Runs an application as a service of the mesh and waits until it serves. */
export async function openService(
  mesh: RunningMesh,
  service: string,
  app: AppOptions = {},
): Promise<RunningService> {
  await using stack = new AsyncDisposableStack();
  const outboundPort = await freePort();
  const appPort = app.port === undefined ? [] : ["--app-port", String(app.port)];
  const appProtocol = app.protocol === undefined ? [] : ["--app-protocol", app.protocol];
  const ports = ["--outbound-port", String(outboundPort), ...appPort];
  const options = ["--service", service, ...ports, ...appProtocol, ...(app.args ?? [])];
  const command = stack.use(
    startTroth(mesh.path, ["run", ...options, "--", ...(app.command ?? smallApp)], app.env),
  );
  const status = await servingInstance(mesh.path, service);
  const opened = stack.move();
  return {
    command,
    outboundAddress: `127.0.0.1:${outboundPort}`,
    status,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** What `troth status -o json` says now; throws what it says instead of an answer. */
export async function statusOf(path: string): Promise<MeshStatus> {
  const { code, stdout, stderr } = await troth(path, "status", "-o", "json");
  if (code !== 0) throw new Error(`troth status ended with ${code}: ${stderr.trim()}`);
  return parseStatus(stdout);
}

/** Waits until an instance of a service serves. */
export async function servingInstance(path: string, service: string): Promise<InstanceStatus> {
  const deadline = performance.now() + cliMillisMax;
  for (;;) {
    const { instances } = await statusOf(path);
    const found = instances.find((instance) => instance.service === service && instance.isServing);
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`${service} does not serve`);
    await new Promise((resolve) => setTimeout(resolve, pollMillis));
  }
}

/** Lets callers that are no proxies of Troth's, which mint no request tokens, ask a service, as its owner would. */
export async function waiveRequestTokens(
  { path }: Pick<RunningMesh, "path">,
  service: string,
): Promise<void> {
  const { code, stderr } = await troth(path, "token", "policy", service, "off");
  if (code !== 0) throw new Error(`troth token policy ended with ${code}: ${stderr.trim()}`);
}

/** Process ids of a mesh by the command of `troth` that they run (`control-plane`, `node-agent`, `sidecar`), or by their script. */
export function processesOf(mesh: RunningMesh, command: string): number[] {
  return processesMarked(mesh.command.mark)
    .filter(({ command: [, script = "", name] }) => name === command || basename(script) === command)
    .map(({ pid }) => pid);
}

/** The address for the own requests of a service of the demo, from its sidecar's command line. */
export function outboundAddressOf(mesh: RunningMesh, service: string): string {
  for (const { command } of processesMarked(mesh.command.mark)) {
    if (command[2] !== "sidecar" || command[command.indexOf("--service") + 1] !== service) continue;
    return `127.0.0.1:${command[command.indexOf("--outbound-port") + 1] ?? ""}`;
  }
  throw new Error(`no sidecar of ${service}`);
}
