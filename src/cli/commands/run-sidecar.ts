import { hostAndPort } from "../../base/host-and-port.ts";
import { type AppProtocol, openSidecar, type TcpListener } from "../../data-plane/index.ts";
import { ProcessTree } from "../../peer-process/index.ts";
import { type HealthOptions, healthCheckOf } from "../health-options.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { newTreeMark, type OutboundClients, treeVariable } from "../own-tree.ts";
import { openProxyOptions } from "../proxy-process.ts";
import { announceTarget } from "../scrape-targets.ts";
import { parseTcpPort } from "../tcp-ports.ts";
import { onParentMessage, tellParent } from "../until-stopped.ts";
import { runProcess } from "./run-process.ts";
import { requireServiceName } from "./run-service.ts";

/** The sidecar of one workload instance. */
export async function runSidecar(
  options: HealthOptions & {
    dir: string;
    service: string;
    appPort: number;
    appProtocol: AppProtocol;
    outboundPort: number;
    /** host:port for calls of other proxies; any port of loopback unless given. */
    meshListen?: string;
    adminListen?: string;
    /** The socket bound to the outbound port, where the supervisor holds it. */
    outboundDescriptor?: number;
    /** Whether another sidecar on that socket is to go once this one is known. */
    replaces: boolean;
    tcp: readonly string[];
    prefix: readonly string[];
    dangerBelieveAdvertisements: boolean;
    /** The sockets bound to the ports of `tcp`, in the same order, where the supervisor holds them. */
    tcpDescriptors?: readonly number[];
    /** `own` serves the application's processes alone, which the supervisor tells of. */
    outboundClients: OutboundClients;
    logLevel: string;
  },
): Promise<void> {
  const directory = meshDirectory(options.dir);
  let drain = (): Promise<void> => Promise.resolve();
  const clients = ownClients(options.outboundClients);
  await runProcess(
    async (stack, { finished, revoked }) => {
      const proxy = await openProxyOptions(directory, stack, { ...options, role: "sidecar", revoked });
      const { service, instance, log } = proxy;
      const sidecar = stack.use(
        await openSidecar({
          ...proxy,
          prefixes: options.prefix.map(requireServiceName),
          dangerBelieveAdvertisements: options.dangerBelieveAdvertisements,
          app: { host: "127.0.0.1", port: options.appPort, protocol: options.appProtocol },
          inbound:
            options.meshListen === undefined
              ? { host: "127.0.0.1", port: 0 }
              : hostAndPort(options.meshListen),
          outbound: {
            host: "127.0.0.1",
            port: options.outboundPort,
            ...(options.outboundDescriptor === undefined ? {} : { descriptor: options.outboundDescriptor }),
          },
          replaces: options.replaces,
          health: healthCheckOf(options),
          tcp: tcpListeners(options.tcp, options.tcpDescriptors ?? []),
          clients,
        }),
      );
      drain = () => sidecar.drain();
      onParentMessage((message) => {
        if (message.kind === "application") return;
        if (message.kind === "withdraw")
          return void sidecar.drain().finally(() => tellParent({ kind: "withdrawn" }));
        log.info("retiring: another sidecar has this one's place", { drainSeconds: message.drainSeconds });
        void sidecar.retire(message.drainSeconds * 1000).finally(() => {
          drain = () => Promise.resolve();
          finished();
        });
      });
      const address = sidecar.adminAddress;
      const target = { process: "sidecar", address, service, instance } as const;
      stack.use(await announceTarget(directory, target));
      return {
        inbound: sidecar.inboundAddress,
        outbound: sidecar.outboundAddress,
        admin: address,
        health: address,
        instance,
      };
    },
    () => drain(),
  );
}

/** Listens from the start: the supervisor may tell of an application before the sidecar is open. */
function ownClients(which: OutboundClients): ProcessTree | undefined {
  if (which === "any") return undefined;
  const tree = new ProcessTree({ name: treeVariable, value: process.env[treeVariable] ?? newTreeMark() });
  onParentMessage((message) => {
    if (message.kind === "application") tree.plant(message);
  });
  return tree;
}

function tcpListeners(flags: readonly string[], descriptors: readonly number[]): TcpListener[] {
  return flags.map((flag, place) => {
    const { service, port = 0 } = parseTcpPort(flag);
    const descriptor = descriptors[place];
    const held = descriptor === undefined ? {} : { descriptor };
    return { service, listenOn: { host: "127.0.0.1", port, ...held } };
  });
}
