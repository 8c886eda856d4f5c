import { join } from "node:path";
import { openGateway } from "../../data-plane/index.ts";
import { type GatewayFlags, GatewaySource } from "../gateway-source.ts";
import { meshDirectory, requireKnownDomain } from "../mesh-directory.ts";
import { talk } from "../output.ts";
import { openProxyOptions } from "../proxy-process.ts";
import { announceTarget } from "../scrape-targets.ts";
import { sidecarEnvironment, sidecarFlags } from "../sidecar-runtime.ts";
import { supervise } from "../supervise.ts";
import { untilStoppedOrRevoked } from "../until-stopped.ts";
import { runProcess } from "./run-process.ts";
import { declareService } from "./run-service.ts";

/** What `troth gateway` takes. */
export interface GatewayCommand extends GatewayFlags {
  readonly dir: string;
  readonly logLevel: string;
}

/** `troth gateway`: takes clients from outside to services of the mesh, until it is stopped. */
export async function runGateway(options: GatewayCommand): Promise<void> {
  const { logLevel } = options;
  const directory = meshDirectory(options.dir);
  await requireKnownDomain(directory);
  const { service, settings } = await new GatewaySource(options).load();
  await declareService(directory, service, { isCalled: false });
  const { stopped, revoked } = untilStoppedOrRevoked();
  await using stack = new AsyncDisposableStack();
  const gateway = stack.use(
    await supervise({
      name: `gateway ${service}`,
      flags: sidecarFlags,
      environment: sidecarEnvironment(),
      args: ["gateway-process", "--dir", directory.path, ...argumentsOf(options), "--log-level", logLevel],
      logFile: join(directory.logs, `gateway${service.replaceAll("/", ".")}.log`),
      revoked,
    }),
  );
  process.stdout.write(`ready: ${service} takes clients at ${gateway.addresses["clients"]}\n`);
  for (const to of new Set(settings.routes.map((route) => route.service)))
    talk(`  if it may not call ${to} yet: troth allow ${service} ${to}`);
  await stopped;
}

/** One process of a gateway. */
export async function runGatewayProcess(
  options: GatewayFlags & {
    dir: string;
    adminListen?: string;
    logLevel: string;
  },
): Promise<void> {
  const directory = meshDirectory(options.dir);
  const source = new GatewaySource(options);
  let drain = (): Promise<void> => Promise.resolve();
  await runProcess(
    async (stack, { revoked }) => {
      const { service, settings } = await source.load();
      const proxy = await openProxyOptions(directory, stack, {
        ...options,
        role: "gateway",
        service,
        revoked,
      });
      const { log, instance } = proxy;
      const gateway = stack.use(await openGateway({ ...proxy, settings }));
      drain = () => gateway.drain();
      stack.use(
        source.watch(async (loaded) => {
          const used = loaded instanceof Error ? undefined : await gateway.use(loaded.settings);
          if (used?.ok === true) return log.info("settings taken over");
          const why = loaded instanceof Error ? loaded.message : used === undefined ? "" : used.detail;
          log.error("settings not taken over; those before stay in force", { error: why });
        }),
      );
      const address = gateway.adminAddress;
      stack.use(await announceTarget(directory, { process: "gateway", address, service, instance }));
      return { clients: gateway.addresses.join(", "), admin: address, health: address, instance };
    },
    () => drain(),
  );
}

/** The flags that say what a gateway does, as its processes take them. */
function argumentsOf(flags: GatewayFlags): string[] {
  const { file, service, listen, certificate, key, host, pathPrefix, to } = flags;
  const pairs: readonly (readonly [string, string | undefined])[] = [
    ["--file", file],
    ["--service", service],
    ["--listen", listen],
    ["--certificate", certificate],
    ["--key", key],
    ["--host", host],
    ["--path-prefix", pathPrefix],
    ["--to", to],
  ];
  return pairs.flatMap(([flag, value]) => (value === undefined ? [] : [flag, value]));
}
