import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import type { AppProtocol } from "../../data-plane/index.ts";
import { parseServiceName, type ServiceName } from "../../identity/index.ts";
import type { DataClass } from "../../trust-log/index.ts";
import { type AppProcess, openApp } from "../app-process.ts";
import { foreignEnvironment, ownEnvironment, sidecarEnvironment, sidecarFlags } from "../compile-cache.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { freePort } from "../free-port.ts";
import { HeldPort } from "../held-port.ts";
import { joinedMesh, requireMesh } from "../membership.ts";
import { type MeshDirectory, meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { talk } from "../output.ts";
import { explainListening } from "../port-in-use.ts";
import { type Supervisor, supervise } from "../supervise.ts";
import { endWhileOpening, untilStopped } from "../until-stopped.ts";

/** After so long, a wait is explained. */
const longWaitMillis = 5_000;

/** What `troth run` takes. */
export interface RunOptions {
  readonly dir: string;
  readonly service: string;
  /** The port that the application listens on; a free one is chosen and given to it as PORT otherwise. */
  readonly appPort?: number;
  readonly outboundPort?: number;
  /** `auto` unless given. */
  readonly appProtocol?: AppProtocol;
  readonly httpProxy: boolean;
  readonly logLevel: string;
}

/** An application behind its sidecar. */
export interface RunningService extends AsyncDisposable {
  readonly name: ServiceName;
  readonly app: AppProcess;
  readonly sidecar: Supervisor;
}

/** `troth run`: starts a sidecar, then the application once the sidecar is ready; ends with the application's code. */
export async function runService(command: readonly string[], options: RunOptions): Promise<number> {
  const directory = meshDirectory(options.dir);
  const name = requireServiceName(options.service);
  const hasOnlyJoined = (await joinedMesh(directory)) !== undefined;
  // A machine that has only joined holds no key to register a service with.
  if (!hasOnlyJoined) await registerIfNew(directory, name);
  const stopped = untilStopped();
  const noting = setTimeout(() => {
    if (hasOnlyJoined)
      talk(
        `${name} waits for its certificate; is it registered, and may it run on this node? (troth get service)`,
      );
  }, longWaitMillis).unref();
  const opened = endWhileOpening(stopped);
  await using running = await openService(directory, { ...options, name, command, stdio: "inherit" });
  opened();
  clearTimeout(noting);
  void stopped.then(() => running.app.stop());
  return await running.app.exited;
}

/** Reads a service name; a missing leading slash is forgiven. */
export function requireServiceName(text: string): ServiceName {
  const name = parseServiceName(text.startsWith("/") ? text : `/${text}`);
  if (!name.ok)
    throw new CliError(
      exitCode.usage,
      `"${text}" is no service name (${name.reason}); write it like /shop/payments`,
    );
  return name.value;
}

async function registerIfNew(directory: MeshDirectory, name: ServiceName): Promise<void> {
  using client = await OperatorClient.open(directory);
  if (client.state.services.has(name)) return;
  const dataClass: DataClass = "internal";
  const { proposals } = await client.append([
    { kind: "service.put", body: { name, nodes: ["*"], dataClass, team: "", environment: "", labels: {} } },
  ]);
  if (proposals.length > 0)
    throw new CliError(exitCode.no, `${name} is not registered yet; run this again once it is`);
  process.stderr.write(`troth: registered ${name}; nobody may call it until: troth allow CALLER ${name}\n`);
}

/** Starts the sidecar and then the application. */
export async function openService(
  directory: MeshDirectory,
  options: Omit<RunOptions, "service" | "dir"> & {
    readonly name: ServiceName;
    readonly command: readonly string[];
    readonly stdio: "inherit" | number;
    /** Whether the application is one of Troth's own, as in the demo. */
    readonly isOwn?: boolean;
  },
): Promise<RunningService> {
  await requireMesh(directory);
  const [file, ...args] = options.command;
  if (file === undefined) throw new CliError(exitCode.usage, "no command to run; write it after --");
  await using stack = new AsyncDisposableStack();
  const appPort = options.appPort ?? (await freePort());
  const outboundPort = options.outboundPort ?? (await freePort());
  const heldPort = await holdPort(outboundPort);
  if (heldPort !== undefined) stack.use(heldPort);
  const sidecar = stack.use(
    await supervise({
      ...(heldPort === undefined ? {} : { heldPort }),
      name: `sidecar of ${options.name}`,
      flags: sidecarFlags,
      environment: sidecarEnvironment(),
      args: [
        "sidecar",
        "--dir",
        directory.path,
        "--service",
        options.name,
        "--app-port",
        String(appPort),
        "--app-protocol",
        options.appProtocol ?? "auto",
        "--outbound-port",
        String(outboundPort),
        "--log-level",
        options.logLevel,
      ],
      logFile: join(directory.logs, `sidecar${options.name.replaceAll("/", ".")}.log`),
    }),
  );
  const outboundUrl = `http://${sidecar.addresses["outbound"]}`;
  const proxy = options.httpProxy ? proxyVariables(outboundUrl) : {};
  const start = (): ChildProcess =>
    spawn(file, args, {
      // Only our own demo gets an IPC channel: handed on by a program that does not know it, it would break its children.
      stdio: options.stdio === "inherit" ? "inherit" : ["ignore", options.stdio, options.stdio, "ipc"],
      env: {
        ...(options.isOwn === true ? ownEnvironment() : foreignEnvironment()),
        ...proxy,
        PORT: String(appPort),
        TROTH_SERVICE: options.name,
        TROTH_OUTBOUND_URL: outboundUrl,
      },
    });
  // What `troth run` runs ends it; the demo's applications have nobody else to start them again.
  const app = stack.use(await openApp(start, { file, restarts: options.isOwn === true }));
  const running = stack.move();
  return { name: options.name, app, sidecar, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

async function holdPort(port: number): Promise<HeldPort | undefined> {
  try {
    return HeldPort.open(port);
  } catch (error) {
    throw await explainListening(error, `127.0.0.1:${port}`, "--outbound-port");
  }
}

/** Clients that dial the sidecar itself, as those of gRPC do, must not ask it for a tunnel to itself. */
function proxyVariables(outboundUrl: string): Readonly<Record<string, string>> {
  const direct = "127.0.0.1,localhost";
  return { http_proxy: outboundUrl, HTTP_PROXY: outboundUrl, no_proxy: direct, NO_PROXY: direct };
}
