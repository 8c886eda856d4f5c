import { join } from "node:path";
import { base64Of } from "../../base/bytes.ts";
import { foundDomain, loadLogKeys, openLogFiles } from "../../control-plane/index.ts";
import { exportPrivateKey, generateEd25519, publicKeyBytes } from "../../crypto/index.ts";
import { parseTrustDomain } from "../../identity/index.ts";
import { joinMesh } from "../../node-agent/index.ts";
import { type Journal, openFileKeyStore } from "../../storage/index.ts";
import { isSignedBy, leafHash, type NoteSigner, parseNote, verifierKeyOf } from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { freePort } from "../free-port.ts";
import { readMembership, writeMembership } from "../membership.ts";
import {
  type KnownDomain,
  type MeshDirectory,
  makeMeshDirectory,
  meshDirectory,
  readKnownDomain,
  writeKnownDomain,
} from "../mesh-directory.ts";
import { loadOperator, OperatorClient, proposalLifetimeSeconds } from "../operator-client.ts";
import type { Appended } from "../proposed-entry.ts";
import { type Supervised, type Supervisor, supervise } from "../supervise.ts";
import { randomBytes, systemClock } from "../system.ts";
import { untilStopped } from "../until-stopped.ts";
import { loadNodeKey } from "./run-processes.ts";

const defaultPort = 7443;
const inviteSecondsMax = 600;
/** Genesis, trust in the root, the intermediate. */
const foundingEntries = 3;

/** What `troth up` takes. */
export interface UpOptions {
  readonly dir: string;
  /** host:port; where it was before, or 127.0.0.1:7443, unless given. */
  readonly listen?: string;
  readonly trustDomain: string;
  /** Whether a new domain is one for tests, the only kind in which options named danger… work. For ever. */
  readonly testDomain: boolean;
  readonly node: string;
  readonly svidLifetime: number;
  readonly logLevel: string;
}

/** A control plane and a node agent, running. */
export interface RunningMesh extends AsyncDisposable {
  readonly directory: MeshDirectory;
  readonly domain: KnownDomain;
  readonly isNew: boolean;
  readonly controlPlane: Supervisor;
  readonly agent: Supervisor;
}

/** `troth up`: founds a trust domain where there is none, and runs its control plane and this machine's agent. */
export async function up(options: UpOptions): Promise<void> {
  const stopped = untilStopped();
  await using mesh = await openMesh(options);
  const what = mesh.isNew ? "founded" : "resumed";
  process.stdout.write(
    `ready: admin ${mesh.domain.address}, trust domain ${mesh.domain.trustDomain} (${what}), directory ${mesh.directory.path}\n`,
  );
  await stopped;
  process.stderr.write("stopping\n");
}

/**
 * Starts both processes and joins this machine to the mesh. `known` is called as soon as the directory says which mesh
 * it is, so that others can start beside; they wait for the agent by themselves.
 */
export async function openMesh(
  options: UpOptions,
  known?: (directory: MeshDirectory) => void,
): Promise<RunningMesh> {
  const directory = meshDirectory(options.dir);
  makeMeshDirectory(directory);
  await using stack = new AsyncDisposableStack();
  const before = await readKnownDomain(directory);
  const domain = await resumeOrFound(directory, before, options);
  known?.(directory);
  const startAgent = async (): Promise<Supervisor> =>
    stack.use(await supervise(agentOf(directory, domain, options)));
  const hasJoined = (await readMembership(directory)) !== undefined;
  const early = hasJoined ? startAgent() : undefined;
  // Its failure is told below, after the control plane's, which is the likelier cause.
  early?.catch(() => {});
  const controlPlane = stack.use(await supervise(controlPlaneOf(directory, domain, options)));
  // Only now: had another one been running here, clients would look for it at an address where it is not.
  if (before !== undefined && before.address !== domain.address) await writeKnownDomain(directory, domain);
  if (!hasJoined) await joinHere(directory, options.node);
  const agent = await (early ?? startAgent());
  const running = stack.move();
  return {
    directory,
    domain,
    isNew: before === undefined,
    controlPlane,
    agent,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

function controlPlaneOf(directory: MeshDirectory, domain: KnownDomain, options: UpOptions): Supervised {
  const { dir, svidLifetime, logLevel } = options;
  return {
    name: "control plane",
    args: [
      "control-plane",
      "--dir",
      dir,
      "--listen",
      domain.address,
      "--svid-lifetime",
      String(svidLifetime),
      "--log-level",
      logLevel,
    ],
    logFile: join(directory.logs, "control-plane.log"),
  };
}

function agentOf(directory: MeshDirectory, domain: KnownDomain, { dir, logLevel }: UpOptions): Supervised {
  return {
    name: "node agent",
    args: ["node-agent", "--dir", dir, "--control-plane", domain.address, "--log-level", logLevel],
    logFile: join(directory.logs, "node-agent.log"),
  };
}

async function resumeOrFound(
  directory: MeshDirectory,
  known: KnownDomain | undefined,
  options: UpOptions,
): Promise<KnownDomain> {
  if (known === undefined) return found(directory, options);
  return { ...known, address: options.listen ?? known.address };
}

/** The ceremony of the first start: keys, genesis, the CA. The operator's key signs here and in no process after. */
async function found(directory: MeshDirectory, options: UpOptions): Promise<KnownDomain> {
  const trustDomain = parseTrustDomain(options.trustDomain);
  if (!trustDomain.ok)
    throw new CliError(exitCode.usage, `"${options.trustDomain}" is no trust domain: ${trustDomain.reason}`);
  const operatorName = `${trustDomain.value}/operator/founder`;
  const operator = await loadOperator(directory, operatorName);
  const keyStore = await openFileKeyStore(directory.controlPlaneKeys);
  const keys = await loadLogKeys(keyStore, trustDomain.value);
  await using storage = await openLogFiles(directory.controlPlaneLog);
  if (storage.journal.size === 0) {
    const founded = await foundDomain({
      trustDomain: trustDomain.value,
      isTestDomain: options.testDomain,
      operator,
      keys,
      keyStore,
      clock: systemClock,
      randomBytes,
    });
    await storage.journal.appendAll(founded.entries);
  }
  // Read back from the log, so that a start that was interrupted right here goes on with what it had founded.
  const genesis = await genesisOf(storage.journal, operator);
  const address = options.listen ?? `127.0.0.1:${await freePort(defaultPort)}`;
  const domain = {
    trustDomain: trustDomain.value,
    address,
    genesis,
    logKey: verifierKeyOf(keys.log),
    operator: operatorName,
  };
  await writeKnownDomain(directory, domain);
  return domain;
}

/** The name of a log that this operator founded a moment ago. */
async function genesisOf(journal: Journal, operator: NoteSigner): Promise<string> {
  const entries: Uint8Array[] = [];
  for await (const entry of journal.read(0, Math.min(journal.size, foundingEntries))) entries.push(entry);
  const [first] = entries;
  const note = first === undefined ? undefined : parseNote(first);
  if (
    first === undefined ||
    entries.length < foundingEntries ||
    note?.ok !== true ||
    !isSignedBy(note.value, operator)
  )
    throw new CliError(
      exitCode.failed,
      "the founding of this trust domain was interrupted, or its domain.json was lost: restore the directory from a backup, or remove it to found another domain",
    );
  return base64Of(leafHash(first));
}

/** Invites this machine's agent and lets it join, the same way as any other machine's, unless it has. */
async function joinHere(directory: MeshDirectory, node: string): Promise<void> {
  if ((await readMembership(directory)) !== undefined) return;
  using client = await OperatorClient.open(directory);
  const { token, proposals } = await invite(client, node);
  if (proposals.length > 0)
    throw new CliError(exitCode.no, `${node} may join once others have signed; start again then`);
  const nodeKey = await loadNodeKey(directory);
  await writeMembership(directory, await joinMesh(token, { nodeKey, clock: systemClock, randomBytes }));
}

/** Writes an invitation into the log, or proposes it; the token holds its secret. */
export async function invite(
  client: OperatorClient,
  node: string,
): Promise<Appended & { readonly token: Parameters<typeof joinMesh>[0] }> {
  const { privateKey, publicKey } = generateEd25519();
  const waitSeconds = client.needsOthers("node.invite") ? proposalLifetimeSeconds : 0;
  const expiresAtSeconds = Math.floor(systemClock.nowSeconds()) + waitSeconds + inviteSecondsMax;
  const appended = await client.append([
    { kind: "node.invite", body: { node, inviteKey: base64Of(publicKeyBytes(publicKey)), expiresAtSeconds } },
  ]);
  const { address, genesis, logKey } = client.domain;
  const token = { node, address, genesis, logKey, inviteKey: base64Of(exportPrivateKey(privateKey)) };
  return { ...appended, token };
}
