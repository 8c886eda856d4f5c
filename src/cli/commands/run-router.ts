import { isIP } from "node:net";
import { join } from "node:path";
import { hostAndPort } from "../../base/host-and-port.ts";
import { openRouter } from "../../data-plane/index.ts";
import type { ServiceName } from "../../identity/index.ts";
import { isRouterService, routerLabels } from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { joinedMesh, readMembership } from "../membership.ts";
import { type MeshDirectory, meshDirectory, requireKnownDomain } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { talk } from "../output.ts";
import { openProxyOptions } from "../proxy-process.ts";
import { announceTarget } from "../scrape-targets.ts";
import { sidecarEnvironment, sidecarFlags } from "../sidecar-runtime.ts";
import { supervise } from "../supervise.ts";
import { untilStoppedOrRevoked } from "../until-stopped.ts";
import { runProcess } from "./run-process.ts";
import { declareService, requireServiceName } from "./run-service.ts";

/** What `troth router` takes. */
export interface RouterCommand {
  readonly dir: string;
  readonly service: string;
  /** host:port as callers reach it. */
  readonly listen: string;
  readonly logLevel: string;
}

/** `troth router`: takes callers of other zones into the zone of this machine, until it is stopped. */
export async function runRouter(options: RouterCommand): Promise<void> {
  const { listen, logLevel } = options;
  const directory = meshDirectory(options.dir);
  const service = requireServiceName(options.service);
  requireListen(listen);
  // A machine that has only joined holds no key to declare a service with.
  if ((await joinedMesh(directory)) === undefined) await declareRouter(directory, service);
  const { stopped, revoked } = untilStoppedOrRevoked();
  await using stack = new AsyncDisposableStack();
  const router = stack.use(
    await supervise({
      name: `router ${service}`,
      flags: sidecarFlags,
      environment: sidecarEnvironment(),
      args: [
        "router-process",
        "--dir",
        directory.path,
        "--service",
        service,
        "--listen",
        listen,
        "--log-level",
        logLevel,
      ],
      logFile: join(directory.logs, `router${service.replaceAll("/", ".")}.log`),
      revoked,
    }),
  );
  const { callers = "", zone = "" } = router.addresses;
  process.stdout.write(`ready: ${service} takes callers into ${zoneText(zone)} at ${callers}\n`);
  if (zone === "") {
    const node = (await readMembership(directory))?.node ?? "NODE";
    talk(`  this machine is in no zone, so nobody comes yet: troth node zone ${node} ZONE`);
  }
  await stopped;
}

/** One process of a router. */
export async function runRouterProcess(options: RouterCommand & { adminListen?: string }): Promise<void> {
  const directory = meshDirectory(options.dir);
  let drain = (): Promise<void> => Promise.resolve();
  await runProcess(
    async (stack, { revoked }) => {
      const proxy = await openProxyOptions(directory, stack, { ...options, role: "router", revoked });
      const { service, instance } = proxy;
      const router = stack.use(await openRouter({ ...proxy, listenOn: requireListen(options.listen) }));
      drain = () => router.drain();
      const address = router.adminAddress;
      stack.use(await announceTarget(directory, { process: "router", address, service, instance }));
      return { callers: router.address, zone: router.zone, admin: address, health: address, instance };
    },
    () => drain(),
  );
}

/** Registers the service as one of routers; throws where it is known as something else. */
async function declareRouter(directory: MeshDirectory, service: ServiceName): Promise<void> {
  await requireKnownDomain(directory);
  await declareService(directory, service, { labels: routerLabels, isCalled: false });
  using client = await OperatorClient.open(directory);
  if (!isRouterService(client.state, service))
    throw new CliError(
      exitCode.no,
      `${service} is registered, and not as a router; choose another --service, or give it the label ${labelText()} (troth apply)`,
    );
}

function labelText(): string {
  return Object.entries(routerLabels)
    .map(([name, value]) => `${name}: ${value}`)
    .join(", ");
}

/** Callers are told this very address, so it must be one that can be dialled. */
function requireListen(text: string): { readonly host: string; readonly port: number } {
  try {
    const address = hostAndPort(text);
    if (isIP(address.host) === 0 || !/^(?:0\.0\.0\.0|::)$/.test(address.host)) return address;
  } catch (cause) {
    throw new CliError(exitCode.usage, `--listen takes host:port, not "${text}"`, { cause });
  }
  throw new CliError(
    exitCode.usage,
    `--listen ${text} is no address to be told to callers; name the one by which they reach this machine`,
  );
}

function zoneText(zone: string): string {
  return zone === "" ? "no zone" : `the zone ${zone}`;
}
