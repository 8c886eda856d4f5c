import { authorityOfServiceName, parseServiceName, type ServiceName } from "../identity/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import { freePort } from "./free-port.ts";
import { HeldPort } from "./held-port.ts";
import { explainListening } from "./port-in-use.ts";

/** Ports that one sidecar listens on for connections to services over TCP. */
export const tcpPortsMax = 64;

/** A port of loopback whose connections go to a service over TCP. */
export interface TcpPort {
  readonly service: ServiceName;
  readonly port: number;
}

/** A TCP port as a flag names it: `15432=/shop/db`, or `/shop/db` for a free port. Throws a CliError. */
export function parseTcpPort(text: string): {
  readonly service: ServiceName;
  readonly port: number | undefined;
} {
  const [, digits, path = ""] = /^(?:([0-9]{1,5})=)?(.+)$/s.exec(text) ?? [];
  const service = parseServiceName(path.startsWith("/") ? path : `/${path}`);
  const port = digits === undefined ? undefined : Number(digits);
  if (!service.ok || port === 0 || (port ?? 0) > 65_535)
    throw new CliError(
      exitCode.usage,
      `"${text}" is no TCP port; write it like 15432=/shop/db, or /shop/db for a free port`,
    );
  if (authorityOfServiceName(service.value) === undefined)
    throw new CliError(
      exitCode.usage,
      `${service.value} cannot be called: each segment of its name must be a DNS label (a-z, 0-9 and -)`,
    );
  return { service: service.value, port };
}

/** The variable that tells an application where a service is over TCP: `TROTH_TCP_SHOP_DB` for `/shop/db`. */
export function tcpVariable(service: ServiceName): string {
  return `TROTH_TCP_${service
    .slice(1)
    .replaceAll(/[^A-Za-z0-9]/g, "_")
    .toUpperCase()}`;
}

/** Chooses the ports that flags leave open. Throws a CliError where two flags contradict each other. */
export async function chooseTcpPorts(flags: readonly string[]): Promise<TcpPort[]> {
  if (flags.length > tcpPortsMax)
    throw new CliError(exitCode.usage, `--tcp is given ${flags.length} times; at most ${tcpPortsMax}`);
  const services = new Map<string, ServiceName>();
  const ports = new Set<number>();
  const chosen: TcpPort[] = [];
  for (const flag of flags) {
    const { service, port: wanted } = parseTcpPort(flag);
    const variable = tcpVariable(service);
    const other = services.get(variable);
    if (other !== undefined)
      throw new CliError(
        exitCode.usage,
        `--tcp names ${other} and ${service}, and ${variable} can be only one of them`,
      );
    const port = wanted ?? (await freePort());
    if (ports.has(port)) throw new CliError(exitCode.usage, `--tcp names port ${port} twice`);
    services.set(variable, service);
    ports.add(port);
    chosen.push({ service, port });
  }
  return chosen;
}

/** Holds ports for a sidecar over its restarts; none where this Node.js or platform cannot. Throws a CliError where a port is taken. */
export async function holdTcpPorts(
  ports: readonly TcpPort[],
  stack: AsyncDisposableStack,
): Promise<HeldPort[]> {
  const held: HeldPort[] = [];
  for (const { port } of ports) {
    try {
      const one = HeldPort.open(port);
      if (one !== undefined) held.push(stack.use(one));
    } catch (error) {
      throw await explainListening(error, `127.0.0.1:${port}`, "--tcp");
    }
  }
  return held;
}
