import { type KeyObject, randomUUID } from "node:crypto";
import { join } from "node:path";
import { messageOf } from "../../base/mesh-error.ts";
import { openControlPlane, openLogFiles } from "../../control-plane/index.ts";
import { exportPrivateKey, generateEd25519, importPrivateKey } from "../../crypto/index.ts";
import { openSidecar } from "../../data-plane/index.ts";
import { parseServiceName } from "../../identity/index.ts";
import { hostAndPort, openNodeAgent } from "../../node-agent/index.ts";
import {
  makeFolder,
  openFileJournal,
  openFileKeyStore,
  openWriterLock,
  writeFileAtomically,
} from "../../storage/index.ts";
import { generationOf, parseVerifierKey } from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { readMembership, writeMembership } from "../membership.ts";
import {
  type MeshDirectory,
  meshDirectory,
  readKnownDomain,
  requireKnownDomain,
  writeKnownDomain,
} from "../mesh-directory.ts";
import { explainListening } from "../port-in-use.ts";
import { announceTarget } from "../scrape-targets.ts";
import { openLog, random, randomBytes, systemClock } from "../system.ts";
import { tracingFromEnvironment } from "../tracing-settings.ts";
import { tellParent, untilStopped } from "../until-stopped.ts";

/** Runs what `open` opens until this process is asked to stop; a supervisor hears how it went. */
async function runProcess(
  open: (
    stack: AsyncDisposableStack,
    broken: (error: unknown) => void,
  ) => Promise<Readonly<Record<string, string>>>,
  beforeStop?: () => Promise<void>,
): Promise<void> {
  const breaking = new AbortController();
  const stopped = untilStopped(breaking.signal);
  // Ends with an error, so that a supervisor starts it again.
  const broken = (error: unknown): void => {
    process.stderr.write(`troth: ${messageOf(error)}\n`);
    process.exitCode = exitCode.failed;
    breaking.abort();
  };
  await using stack = new AsyncDisposableStack();
  try {
    tellParent({ kind: "ready", addresses: await open(stack, broken) });
  } catch (error) {
    tellParent({ kind: "failed", message: messageOf(error) });
    throw error;
  }
  await stopped;
  await beforeStop?.();
}

/** The control plane of a mesh directory. */
export async function runControlPlane(options: {
  dir: string;
  listen: string;
  adminListen?: string;
  svidLifetime: number;
  logLevel: string;
}): Promise<void> {
  const directory = meshDirectory(options.dir);
  const domain = await requireKnownDomain(directory);
  const logKey = parseVerifierKey(domain.logKey);
  if (!logKey.ok)
    throw new CliError(exitCode.unreadable, `the log key in ${directory.path}/domain.json is damaged`);
  await runProcess(async (stack, broken) => {
    const storage = stack.use(await openLogFiles(directory.controlPlaneLog));
    const controlPlane = stack.use(
      await openControlPlane({
        trustDomain: domain.trustDomain,
        storage,
        keyStore: await openFileKeyStore(directory.controlPlaneKeys),
        tilesFolder: directory.tiles,
        proposalsFolder: directory.proposals,
        listen: hostAndPort(options.listen),
        ...(options.adminListen === undefined ? {} : { health: hostAndPort(options.adminListen) }),
        svidLifetimeSeconds: options.svidLifetime,
        generation: generationOf(logKey.value),
        clock: systemClock,
        randomBytes,
        log: openLog("control-plane", options.logLevel),
        broken,
      }).catch(async (error: unknown) => {
        throw await explainListening(error, options.listen, "--listen");
      }),
    );
    const health = controlPlane.healthAddress;
    stack.use(await announceTarget(directory, { process: "control-plane", address: health }));
    return { admin: controlPlane.address, console: controlPlane.consoleAddress, health };
  });
}

/** The node agent of a mesh directory. */
export async function runNodeAgent(options: {
  dir: string;
  controlPlane?: string;
  adminListen?: string;
  logLevel: string;
}): Promise<void> {
  const directory = meshDirectory(options.dir);
  const membership = await readMembership(directory);
  if (membership === undefined)
    throw new CliError(
      exitCode.notFound,
      `no node has joined in ${directory.agent}; join with: troth join TOKEN`,
    );
  await runProcess(async (stack) => {
    const nodeKey = await requireNodeKey(directory);
    const agent = stack.use(
      await openNodeAgent({
        membership: { ...membership, address: options.controlPlane ?? membership.address },
        nodeKey,
        folder: directory.agent,
        socketPath: directory.agentSocket,
        ...(options.adminListen === undefined ? {} : { health: hostAndPort(options.adminListen) }),
        clock: systemClock,
        randomBytes,
        random,
        log: openLog("node-agent", options.logLevel),
        recovered: async (newLogKey) => {
          await writeMembership(directory, { ...membership, logKey: newLogKey });
          const known = await readKnownDomain(directory);
          if (known?.genesis === membership.genesis)
            await writeKnownDomain(directory, { ...known, logKey: newLogKey });
        },
      }),
    );
    const health = agent.healthAddress;
    const { node } = membership;
    stack.use(await announceTarget(directory, { process: "node-agent", address: health, node }));
    return { socket: directory.agentSocket, health };
  });
}

/** The sidecar of one workload instance. */
export async function runSidecar(options: {
  dir: string;
  service: string;
  appPort: number;
  outboundPort: number;
  adminListen?: string;
  /** The socket bound to the outbound port, where the supervisor holds it. */
  outboundDescriptor?: number;
  logLevel: string;
}): Promise<void> {
  const directory = meshDirectory(options.dir);
  const domain = await requireKnownDomain(directory);
  const logKey = parseVerifierKey(domain.logKey);
  const service = parseServiceName(options.service);
  if (!logKey.ok || !service.ok) throw new CliError(exitCode.usage, `${options.service} is no service name`);
  const instance = randomUUID();
  let drain = (): Promise<void> => Promise.resolve();
  await runProcess(
    async (stack) => {
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
          app: { host: "127.0.0.1", port: options.appPort },
          inbound: { host: "127.0.0.1", port: 0 },
          outbound: {
            host: "127.0.0.1",
            port: options.outboundPort,
            ...(options.outboundDescriptor === undefined ? {} : { descriptor: options.outboundDescriptor }),
          },
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

/** The key of a node that has joined: the log knows no other. */
async function requireNodeKey(directory: MeshDirectory): Promise<KeyObject> {
  const file = join(directory.agentKeys, "node");
  const bytes = await (await openFileKeyStore(directory.agentKeys)).load("node");
  try {
    if (bytes !== undefined) return importPrivateKey(bytes);
  } catch {
    // Said below; the library's message may quote the key.
  }
  throw new CliError(
    exitCode.unreadable,
    `${file} is ${bytes === undefined ? "missing" : "damaged"}: restore it from a backup, or remove ${join(directory.agent, "membership.json")} and ${file} and join under another name`,
  );
}

/** The agent's key, made when the node joins. */
export async function loadNodeKey(directory: MeshDirectory): Promise<KeyObject> {
  const keyStore = await openFileKeyStore(directory.agentKeys);
  return importPrivateKey(
    await keyStore.loadOrCreate("node", () => exportPrivateKey(generateEd25519().privateKey)),
  );
}
