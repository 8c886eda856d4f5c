import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { hostAndPort } from "../../base/host-and-port.ts";
import { type AppProtocol, openSidecar, type TcpListener } from "../../data-plane/index.ts";
import { parseServiceName } from "../../identity/index.ts";
import { makeFolder, openFileJournal, openWriterLock, writeFileAtomically } from "../../storage/index.ts";
import { parseVerifierKey } from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { requireMesh } from "../membership.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { announceTarget } from "../scrape-targets.ts";
import { openLog, random, randomBytes, systemClock } from "../system.ts";
import { parseTcpPort } from "../tcp-ports.ts";
import { tracingFromEnvironment } from "../tracing-settings.ts";
import { onParentMessage, tellParent } from "../until-stopped.ts";
import { runProcess } from "./run-process.ts";

/** The sidecar of one workload instance. */
export async function runSidecar(options: {
  dir: string;
  service: string;
  appPort: number;
  appProtocol: AppProtocol;
  outboundPort: number;
  adminListen?: string;
  /** The socket bound to the outbound port, where the supervisor holds it. */
  outboundDescriptor?: number;
  /** Whether another sidecar on that socket is to go once this one is known. */
  replaces: boolean;
  tcp: readonly string[];
  /** The sockets bound to the ports of `tcp`, in the same order, where the supervisor holds them. */
  tcpDescriptors?: readonly number[];
  logLevel: string;
}): Promise<void> {
  const directory = meshDirectory(options.dir);
  const domain = await requireMesh(directory);
  const logKey = parseVerifierKey(domain.logKey);
  const service = parseServiceName(options.service);
  if (!logKey.ok || !service.ok) throw new CliError(exitCode.usage, `${options.service} is no service name`);
  const instance = randomUUID();
  let drain = (): Promise<void> => Promise.resolve();
  await runProcess(
    async (stack, { finished }) => {
      const folder = join(directory.proxies, service.value.slice(1).replaceAll("/", "."), instance);
      await makeFolder(folder);
      const lock = stack.use(await openWriterLock(folder));
      const journal = stack.use(await openFileJournal(join(folder, "audit"), lock));
      const log = openLog("sidecar", options.logLevel);
      const tracing = tracingFromEnvironment(process.env, log);
      const sidecar = stack.use(
        await openSidecar({
          service: service.value,
          instance,
          anchor: { genesis: domain.genesis, logKey: logKey.value, trustDomain: domain.trustDomain },
          agentSocketPath: directory.agentSocket,
          app: { host: "127.0.0.1", port: options.appPort, protocol: options.appProtocol },
          inbound: { host: "127.0.0.1", port: 0 },
          outbound: {
            host: "127.0.0.1",
            port: options.outboundPort,
            ...(options.outboundDescriptor === undefined ? {} : { descriptor: options.outboundDescriptor }),
          },
          replaces: options.replaces,
          tcp: tcpListeners(options.tcp, options.tcpDescriptors ?? []),
          audit: {
            journal,
            saveCheckpoint: (note) => writeFileAtomically(join(folder, "checkpoint"), note, 0o600),
          },
          clock: systemClock,
          random,
          randomBytes,
          log,
          ...(tracing === undefined ? {} : { tracing }),
          ...(options.adminListen === undefined ? {} : { admin: hostAndPort(options.adminListen) }),
        }),
      );
      drain = () => sidecar.drain();
      onParentMessage((message) => {
        if (message.kind === "withdraw")
          return void sidecar.drain().finally(() => tellParent({ kind: "withdrawn" }));
        log.info("retiring: another sidecar has this one's place", { drainSeconds: message.drainSeconds });
        void sidecar.retire(message.drainSeconds * 1000).finally(() => {
          drain = () => Promise.resolve();
          finished();
        });
      });
      const address = sidecar.adminAddress;
      const target = { process: "sidecar", address, service: service.value, instance } as const;
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

function tcpListeners(flags: readonly string[], descriptors: readonly number[]): TcpListener[] {
  return flags.map((flag, place) => {
    const { service, port = 0 } = parseTcpPort(flag);
    const descriptor = descriptors[place];
    const held = descriptor === undefined ? {} : { descriptor };
    return { service, listenOn: { host: "127.0.0.1", port, ...held } };
  });
}
