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
import { type HealthOptions, healthArguments, healthCheckOf } from "../health-options.ts";
import { HeldPort } from "../held-port.ts";
import {
  closeInherited,
  type Isolation,
  isIsolated,
  isolatedEnvironment,
  notIsolated,
  whyNotIsolated,
} from "../isolation.ts";
import { joinedMesh, requireMesh } from "../membership.ts";
import { type MeshDirectory, meshDirectory } from "../mesh-directory.ts";
import { openNetworkNamespace } from "../network-namespace.ts";
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
export interface RunOptions extends HealthOptions {
  readonly dir: string;
  readonly service: string;
  /** The port that the application listens on; a free one is chosen and given to it as PORT otherwise. */
  readonly appPort?: number;
  readonly outboundPort?: number;
  /** host:port for calls of other proxies; any port of loopback unless given. */
  readonly meshListen?: string;
  /** `auto` unless given; `tcp` declares that the service is called over TCP. */
  readonly appProtocol?: AppProtocol | "tcp";
  /** Ports for connections to services over TCP, as `15432=/shop/db` or `/shop/db`; none unless given. */
  readonly tcp?: readonly string[];
  /** What it serves besides its own name; nothing unless given. */
  readonly prefix?: readonly string[];
  readonly dangerBelieveAdvertisements?: boolean;
  readonly httpProxy: boolean;
  /** What to do where the instance is revoked: end, as unless given, or go on as another instance. */
  readonly whenRevoked?: WhenRevoked;
  /** Whom the ports for the application's own calls serve; `any` where the platform cannot tell. */
  readonly outboundClients: OutboundClients;
  /** How the application is kept apart; like any child of `troth run` unless given. */
  readonly isolate?: Isolation;
  readonly logLevel: string;
}

/** What becomes of an application whose instance was revoked. */
export type WhenRevoked = "exit" | "new-instance";

/** An application behind its sidecar. */
export interface RunningService extends AsyncDisposable {
  /** Resolves to the message where the instance is revoked and nothing takes its place. */
  readonly revoked: Promise<string>;
  readonly name: ServiceName;
  readonly app: AppProcess;
  readonly sidecar: Supervisor;
}

/** `troth run`: starts a sidecar, then the application once the sidecar is ready; ends with the application's code. */
export async function runService(command: readonly string[], options: RunOptions): Promise<number> {
  const directory = meshDirectory(options.dir);
  const name = requireServiceName(options.service);
  (options.prefix ?? []).forEach(requireServiceName);
  // Told before anything is registered.
  healthCheckOf(options);
  const hasOnlyJoined = (await joinedMesh(directory)) !== undefined;
  // A machine that has only joined holds no key to register a service with.
  const { appProtocol } = options;
  if (!hasOnlyJoined) await declareService(directory, name, { appProtocol, isCalled: true });
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
  const outcome = await Promise.race([running.app.exited, running.revoked]);
  if (typeof outcome === "number") return outcome;
  process.stderr.write(`troth: ${outcome}\n`);
  running.app.stop();
  return exitCode.revoked;
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
  {
    appProtocol,
    isCalled,
    labels = {},
  }: {
    readonly appProtocol?: RunOptions["appProtocol"];
    /** Whether others call it, for which they need a rule. */
    readonly isCalled: boolean;
    readonly labels?: Readonly<Record<string, string>>;
  },
): Promise<void> {
  using client = await OperatorClient.open(directory);
  const isNew = !client.state.services.has(name);
  const entries: NewEntry[] = [];
  const dataClass: DataClass = "internal";
  if (isNew)
    entries.push({
      kind: "service.put",
      body: { name, nodes: ["*"], dataClass, team: "", environment: "", labels },
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
  const untilAllowed = isCalled ? `; nobody may call it until: troth allow CALLER ${name}` : "";
  if (isNew) process.stderr.write(`troth: registered ${name}${untilAllowed}\n`);
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

/** What a sidecar and its application are started with. */
interface ServiceOptions extends Omit<RunOptions, "service" | "dir"> {
  readonly name: ServiceName;
  readonly command: readonly string[];
  readonly stdio: "inherit" | number;
  /** Whether the application is one of Troth's own, as in the demo. */
  readonly isOwn?: boolean;
}

/** What is the same for both, however often one of them is started again. */
interface ServicePorts {
  readonly app: number;
  readonly outbound: number;
  readonly tcp: readonly { readonly port: number; readonly service: ServiceName }[];
  /** The variable that marks the application's processes. */
  readonly tree: Readonly<Record<string, string>>;
}

/** Starts the sidecar and then the application. */
export async function openService(
  directory: MeshDirectory,
  options: ServiceOptions,
): Promise<RunningService> {
  await requireMesh(directory);
  if (options.command.length === 0)
    throw new CliError(exitCode.usage, "no command to run; write it after --");
  const whyNot = whyNotIsolated(options.isolate ?? notIsolated);
  if (whyNot !== undefined) throw new CliError(exitCode.no, `the application cannot be isolated: ${whyNot}`);
  await using stack = new AsyncDisposableStack();
  const ports: ServicePorts = {
    app: options.appPort ?? (await freePort()),
    outbound: options.outboundPort ?? (await freePort()),
    tcp: await chooseTcpPorts(options.tcp ?? []),
    tree: { [treeVariable]: newTreeMark() },
  };
  const revoked = Promise.withResolvers<string>();
  const sidecar = await startSidecar(directory, options, { ports, stack, revoked: revoked.resolve });
  const app = await startApplication(sidecar, options, { ports, stack });
  stack.use(await openRunSocket(directory, { service: options.name, supervisor: sidecar }));
  const running = stack.move();
  return {
    name: options.name,
    app,
    sidecar,
    revoked: revoked.promise,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function startSidecar(
  directory: MeshDirectory,
  options: ServiceOptions,
  {
    ports,
    stack,
    revoked,
  }: {
    readonly ports: ServicePorts;
    readonly stack: AsyncDisposableStack;
    /** Called where the instance is revoked, unless another is to take its place. */
    readonly revoked: (message: string) => void;
  },
): Promise<Supervisor> {
  const heldPort = await holdPort(ports.outbound);
  if (heldPort !== undefined) stack.use(heldPort);
  const heldTcpPorts = await holdTcpPorts(ports.tcp, stack);
  return stack.use(
    await supervise({
      ...(options.whenRevoked === "new-instance" ? {} : { revoked }),
      ...(heldPort === undefined ? {} : { heldPort }),
      heldTcpPorts,
      name: `sidecar of ${options.name}`,
      flags: sidecarFlags,
      environment: { ...sidecarEnvironment(), ...ports.tree },
      args: [
        "sidecar",
        "--dir",
        directory.path,
        "--service",
        options.name,
        "--app-port",
        String(ports.app),
        "--app-protocol",
        // Whether it is called over TCP is said by the trust log, to every proxy.
        options.appProtocol === "tcp" ? "auto" : (options.appProtocol ?? "auto"),
        "--outbound-port",
        String(ports.outbound),
        "--outbound-clients",
        outboundClientsHere(options.outboundClients),
        "--log-level",
        options.logLevel,
        ...(options.meshListen === undefined ? [] : ["--mesh-listen", options.meshListen]),
        ...(options.prefix ?? []).flatMap((prefix) => ["--prefix", requireServiceName(prefix)]),
        ...(options.dangerBelieveAdvertisements === true ? ["--danger-believe-advertisements"] : []),
        ...healthArguments(options),
        ...ports.tcp.flatMap(({ port, service }) => ["--tcp", `${port}=${service}`]),
      ],
      logFile: join(directory.logs, `sidecar${options.name.replaceAll("/", ".")}.log`),
    }),
  );
}

async function startApplication(
  sidecar: Supervisor,
  options: ServiceOptions,
  { ports, stack }: { readonly ports: ServicePorts; readonly stack: AsyncDisposableStack },
): Promise<AppProcess> {
  const isolation = options.isolate ?? notIsolated;
  if (isIsolated(isolation)) closeInherited();
  const outward = [ports.outbound, ...ports.tcp.map(({ port }) => port)];
  const network = isolation.hasOwnNetwork
    ? stack.use(await openNetworkNamespace(isolation, { outward, appPort: ports.app }))
    : undefined;
  const [file = "", ...args] = [...(network?.prefix ?? []), ...options.command];
  const start = (): ChildProcess => {
    const child = spawn(file, args, {
      // Who enters a namespace becomes the user there.
      ...(network === undefined ? isolation.user : {}),
      // Only our own demo gets an IPC channel: handed on by a program that does not know it, it would break its children.
      stdio: options.stdio === "inherit" ? "inherit" : ["ignore", options.stdio, options.stdio, "ipc"],
      env: applicationEnvironment(sidecar, options, ports),
    });
    // What comes out of a namespace has been relayed by this process, and nobody else can have sent it.
    const message = applicationMessage(network === undefined ? child.pid : process.pid);
    if (message !== undefined) sidecar.tellAll(message);
    return child;
  };
  // What `troth run` runs ends it; the demo's applications have nobody else to start them again.
  return stack.use(
    await openApp(start, { file: options.command[0] ?? file, restarts: options.isOwn === true }),
  );
}

function applicationEnvironment(
  sidecar: Supervisor,
  options: ServiceOptions,
  ports: ServicePorts,
): NodeJS.ProcessEnv {
  const outboundUrl = `http://${sidecar.addresses["outbound"]}`;
  const inherited = options.isOwn === true ? ownEnvironment() : foreignEnvironment();
  const tcp = ports.tcp.map(({ port, service }) => [tcpVariable(service), `127.0.0.1:${port}`] as const);
  return {
    ...(isIsolated(options.isolate ?? notIsolated) ? isolatedEnvironment(inherited) : inherited),
    ...(options.httpProxy ? proxyVariables(outboundUrl) : {}),
    ...Object.fromEntries(tcp),
    ...ports.tree,
    PORT: String(ports.app),
    TROTH_SERVICE: options.name,
    TROTH_OUTBOUND_URL: outboundUrl,
  };
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
