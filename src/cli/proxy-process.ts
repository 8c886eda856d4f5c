import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { hostAndPort } from "../base/host-and-port.ts";
import type { ProxyOptions, ProxyRole } from "../data-plane/index.ts";
import { makeFolder, openFileJournal, openWriterLock, writeFileAtomically } from "../storage/index.ts";
import { parseVerifierKey } from "../trust-log/index.ts";
import { requireServiceName } from "./commands/run-service.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import { requireMesh } from "./membership.ts";
import type { MeshDirectory } from "./mesh-directory.ts";
import { openLog, random, randomBytes, systemClock } from "./system.ts";
import { tracingFromEnvironment } from "./tracing-settings.ts";

/** What a process that is a proxy is started with. */
export interface ProxyProcess {
  readonly role: ProxyRole;
  readonly service: string;
  readonly adminListen?: string;
  readonly logLevel: string;
  /** Called where its instance is revoked. */
  readonly revoked: (reason: string) => void;
}

/** What a proxy of any role needs of its machine: a new instance, its folder and journal under `stack`, and the mesh's anchor. */
export async function openProxyOptions(
  directory: MeshDirectory,
  stack: AsyncDisposableStack,
  { role, service: name, adminListen, logLevel, revoked }: ProxyProcess,
): Promise<ProxyOptions> {
  const domain = await requireMesh(directory);
  const logKey = parseVerifierKey(domain.logKey);
  if (!logKey.ok) throw new CliError(exitCode.unreadable, `the log key in ${directory.path} is none`);
  const service = requireServiceName(name);
  const instance = randomUUID();
  const folder = join(directory.proxies, service.slice(1).replaceAll("/", "."), instance);
  await makeFolder(folder);
  const lock = stack.use(await openWriterLock(folder));
  const journal = stack.use(await openFileJournal(join(folder, "audit"), lock));
  const log = openLog(role, logLevel);
  const tracing = tracingFromEnvironment(process.env, log);
  return {
    service,
    instance,
    anchor: { genesis: domain.genesis, logKey: logKey.value, trustDomain: domain.trustDomain },
    agentSocketPath: directory.agentSocket,
    audit: {
      journal,
      saveCheckpoint: (note) => writeFileAtomically(join(folder, "checkpoint"), note, 0o600),
    },
    clock: systemClock,
    random,
    randomBytes,
    log,
    revoked,
    ...(tracing === undefined ? {} : { tracing }),
    ...(adminListen === undefined ? {} : { admin: hostAndPort(adminListen) }),
  };
}
