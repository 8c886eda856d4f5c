import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import type { JsonObject } from "../../base/canonical-json.ts";
import { messageOf } from "../../base/mesh-error.ts";
import type { AppProtocol } from "../../data-plane/index.ts";
import { parseServiceName, type ServiceName } from "../../identity/index.ts";
import { Procfs } from "../../peer-process/index.ts";
import { type DataClass, isTcpService, requestRuleFor, type TrustState } from "../../trust-log/index.ts";
import { type AppProcess, openApp } from "../app-process.ts";
import { foreignEnvironment, ownEnvironment } from "../compile-cache.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { freePort } from "../free-port.ts";
import { HeldPort } from "../held-port.ts";
import { joinedMesh, requireMesh } from "../membership.ts";
import { type MeshDirectory, meshDirectory } from "../mesh-directory.ts";
import { type NewEntry, OperatorClient } from "../operator-client.ts";
import { talk } from "../output.ts";
import { applicationMessage, newTreeMark, type OutboundClients, treeVariable } from "../own-tree.ts";
import { explainListening } from "../port-in-use.ts";
import { drainSecondsMax, openRunSocket } from "../run-socket.ts";
import { sidecarEnvironment, sidecarFlags } from "../sidecar-runtime.ts";
import { type Supervisor, supervise } from "../supervise.ts";
import { chooseTcpPorts, holdTcpPorts, tcpVariable } from "../tcp-ports.ts";
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
  /** `auto` unless given; `tcp` declares that the service is called over TCP. */
  readonly appProtocol?: AppProtocol | "tcp";
  /** Ports for connections to services over TCP, as `15432=/shop/db` or `/shop/db`; none unless given. */
  readonly tcp?: readonly string[];
  readonly httpProxy: boolean;
  /** Whom the ports for the application's own calls serve; `any` where the platform cannot tell. */
  readonly outboundClients: OutboundClients;
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
  if (!hasOnlyJoined) await declareService(directory, name, options.appProtocol);
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
  using _asking = onReplaceSignal(running);
  // What its callers have asked is answered before the application is told to end.
  void stopped.then(() => running.sidecar.withdraw()).then(() => running.app.stop());
  return await running.app.exited;
}

/**
 * Has the sidecar replaced at SIGUSR2, for supervisors such as systemd that send a signal when they reload. Not at
 * SIGHUP: that is also what a terminal sends that is closed.
 */
function onReplaceSignal({ name, sidecar }: RunningService): Disposable {
  const replace = (): void => {
    sidecar.replace(drainSecondsMax).then(
      () => process.stderr.write(`troth: the sidecar of ${name} was replaced\n`),
      (error: unknown) => process.stderr.write(`troth: not replaced: ${messageOf(error)}\n`),
    );
  };
  process.on("SIGUSR2", replace);
  return { [Symbol.dispose]: () => process.off("SIGUSR2", replace) };
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

/** Registers a service that the trust log does not name yet, and says in the log that it is called over TCP where it is to be. */
export async function declareService(
  directory: MeshDirectory,
  name: ServiceName,
  appProtocol?: RunOptions["appProtocol"],
): Promise<void> {
  using client = await OperatorClient.open(directory);
  const isNew = !client.state.services.has(name);
  const entries: NewEntry[] = [];
  const dataClass: DataClass = "internal";
  if (isNew)
    entries.push({
      kind: "service.put",
      body: { name, nodes: ["*"], dataClass, team: "", environment: "", labels: {} },
    });
  const becomesTcp = appProtocol === "tcp" && !isTcpService(client.state, name);
  if (becomesTcp) entries.push({ kind: "traffic.put", body: tcpTraffic(client.state, name) });
  if (appProtocol !== "tcp" && isTcpService(client.state, name))
    process.stderr.write(`troth: note: ${name} is called over TCP, as the trust log says\n`);
  if (entries.length === 0) return;
  const { proposals } = await client.append(entries);
  if (proposals.length > 0)
    throw new CliError(exitCode.no, `${name} is not registered yet; run this again once it is`);
  if (becomesTcp) process.stderr.write(`troth: ${name} is called over TCP from now on\n`);
  if (isNew)
    process.stderr.write(`troth: registered ${name}; nobody may call it until: troth allow CALLER ${name}\n`);
}

/** The declaration that a service is called over TCP; what does not speak of requests in the one before is kept. */
function tcpTraffic(state: TrustState, service: ServiceName): JsonObject {
  const rule = requestRuleFor(state, service);
  if (rule !== undefined)
    throw new CliError(
      exitCode.no,
      `${service} cannot be called over TCP while the rule "${rule}" has methods or paths; replace it first: troth allow ${rule}`,
    );
  const { timeoutMillis, retries, routes = [], ...kept } = state.traffic.get(service) ?? {};
  if (timeoutMillis !== undefined || retries !== undefined || routes.length > 0)
    throw new CliError(
      exitCode.no,
      `${service} has a traffic policy with timeouts, retries or routes, which TCP has not; remove it first`,
    );
  return { ...kept, service, protocol: "tcp", routes: [] };
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
  const tcpPorts = await chooseTcpPorts(options.tcp ?? []);
  const heldTcpPorts = await holdTcpPorts(tcpPorts, stack);
  const tree = { [treeVariable]: newTreeMark() };
  const sidecar = stack.use(
    await supervise({
      ...(heldPort === undefined ? {} : { heldPort }),
      heldTcpPorts,
      name: `sidecar of ${options.name}`,
      flags: sidecarFlags,
      environment: { ...sidecarEnvironment(), ...tree },
      args: [
        "sidecar",
        "--dir",
        directory.path,
        "--service",
        options.name,
        "--app-port",
        String(appPort),
        "--app-protocol",
        // Whether it is called over TCP is said by the trust log, to every proxy.
        options.appProtocol === "tcp" ? "auto" : (options.appProtocol ?? "auto"),
        "--outbound-port",
        String(outboundPort),
        "--outbound-clients",
        outboundClientsHere(options.outboundClients),
        "--log-level",
        options.logLevel,
        ...tcpPorts.flatMap(({ port, service }) => ["--tcp", `${port}=${service}`]),
      ],
      logFile: join(directory.logs, `sidecar${options.name.replaceAll("/", ".")}.log`),
    }),
  );
  const outboundUrl = `http://${sidecar.addresses["outbound"]}`;
  const proxy = options.httpProxy ? proxyVariables(outboundUrl) : {};
  const tcp = tcpPorts.map(({ port, service }) => [tcpVariable(service), `127.0.0.1:${port}`] as const);
  const start = (): ChildProcess => {
    const child = spawn(file, args, {
      // Only our own demo gets an IPC channel: handed on by a program that does not know it, it would break its children.
      stdio: options.stdio === "inherit" ? "inherit" : ["ignore", options.stdio, options.stdio, "ipc"],
      env: {
        ...(options.isOwn === true ? ownEnvironment() : foreignEnvironment()),
        ...proxy,
        ...Object.fromEntries(tcp),
        ...tree,
        PORT: String(appPort),
        TROTH_SERVICE: options.name,
        TROTH_OUTBOUND_URL: outboundUrl,
      },
    });
    const message = applicationMessage(child);
    if (message !== undefined) sidecar.tellAll(message);
    return child;
  };
  // What `troth run` runs ends it; the demo's applications have nobody else to start them again.
  const app = stack.use(await openApp(start, { file, restarts: options.isOwn === true }));
  stack.use(await openRunSocket(directory, { service: options.name, supervisor: sidecar }));
  const running = stack.move();
  return { name: options.name, app, sidecar, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** Where nobody can tell who calls, everybody is served, as on any machine before; `troth check` says so. */
function outboundClientsHere(wanted: OutboundClients): OutboundClients {
  return new Procfs().tellsCallers ? wanted : "any";
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
