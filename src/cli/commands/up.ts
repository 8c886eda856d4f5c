import { join } from "node:path";
import { base64Of } from "../../base/bytes.ts";
import { foundDomain, loadLogKeys, openLogFiles, requireLogKeys } from "../../control-plane/index.ts";
import { exportPrivateKey, generateEd25519, publicKeyBytes } from "../../crypto/index.ts";
import {
  parseTrustDomain,
  rootLifetimeSecondsDefault,
  svidLifetimeSecondsMax,
  type TrustDomain,
} from "../../identity/index.ts";
import { joinMesh } from "../../node-agent/index.ts";
import { type Journal, type KeyStore, openFileKeyStore } from "../../storage/index.ts";
import {
  foldEntry,
  isSignedBy,
  leafHash,
  MerkleTree,
  parseNote,
  type SignedNote,
  TrustState,
  verifierKeyOf,
} from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { freePort } from "../free-port.ts";
import { type KubernetesFlags, kubernetesFlags, requireKubernetes } from "../kubernetes-options.ts";
import { requireLocalEndpoint } from "../local-endpoint.ts";
import { readMembership, writeMembership } from "../membership.ts";
import {
  type KnownDomain,
  type MeshDirectory,
  makeMeshDirectory,
  meshDirectory,
  readKnownDomain,
  writeKnownDomain,
} from "../mesh-directory.ts";
import { loadNodeKey } from "../node-key.ts";
import { loadOperator, OperatorClient, proposalLifetimeSeconds } from "../operator-client.ts";
import type { Appended } from "../proposed-entry.ts";
import { type Supervised, type Supervisor, superviseIn } from "../supervise.ts";
import { randomBytes, systemClock } from "../system.ts";
import { talk } from "../talk.ts";
import { untilStopped } from "../until-stopped.ts";

/** Where a new control plane listens, if it can. */
export const defaultPort = 7443;
const inviteSecondsMax = 600;
/** Genesis, trust in the root, the intermediate. */
const foundingEntries = 3;

/** What `troth up` takes. */
export interface UpOptions extends KubernetesFlags {
  readonly dir: string;
  /** host:port; where it was before, or 127.0.0.1:7443, unless given. */
  readonly listen?: string;
  readonly trustDomain: string;
  /** Whether a new domain is one for tests, the only kind in which options named danger… work. For ever. */
  readonly testDomain: boolean;
  readonly node: string;
  readonly svidLifetime: number;
  readonly intermediateLifetime?: number;
  /** More places where workloads find the agent, as `SPIFFE_ENDPOINT_SOCKET` has them. */
  readonly workloadListen?: readonly string[];
  /** host:port where other trust domains read this one's bundle; nowhere unless given. */
  readonly bundleEndpoint?: string;
  /** Of a certificate of the public web; the endpoint shows an SVID unless given. */
  readonly bundleEndpointCertificate?: string;
  readonly bundleEndpointKey?: string;
  /** CAs that bundle endpoints of others may have besides the public web's. */
  readonly federationCa?: string;
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
  talk(`workloads without a sidecar: SPIFFE_ENDPOINT_SOCKET=unix://${mesh.directory.workloadSocket}`);
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
  assertOptions(options);
  await requireKubernetes(options);
  await makeMeshDirectory(directory);
  await using stack = new AsyncDisposableStack();
  const before = await readKnownDomain(directory);
  const domain = await resumeOrFound(directory, before, options);
  known?.(directory);
  const startAgent = (): Promise<Supervisor> => superviseIn(stack, agentOf(directory, domain, options));
  const hasJoined = (await readMembership(directory)) !== undefined;
  const early = hasJoined ? startAgent() : undefined;
  // Its failure is told below, after the control plane's, which is the likelier cause.
  early?.catch(() => {});
  const controlPlane = await superviseIn(stack, controlPlaneOf(directory, domain, options));
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

/** What would be refused only once half of a mesh is there. */
function assertOptions(options: UpOptions): void {
  const { listen, node, svidLifetime, intermediateLifetime, workloadListen = [], bundleEndpoint } = options;
  for (const address of workloadListen) requireLocalEndpoint(address);
  if (listen !== undefined) requireListenAddress(listen, "--listen");
  if (bundleEndpoint !== undefined) requireListenAddress(bundleEndpoint, "--bundle-endpoint");
  if ((options.bundleEndpointCertificate === undefined) !== (options.bundleEndpointKey === undefined))
    throw new CliError(
      exitCode.usage,
      "--bundle-endpoint-certificate and --bundle-endpoint-key go together; without both the endpoint shows an SVID",
    );
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(node))
    throw new CliError(
      exitCode.usage,
      `--node takes a name like a host's, of lower-case letters, digits and hyphens, not "${node}"`,
    );
  if (svidLifetime < 1 || svidLifetime > svidLifetimeSecondsMax)
    throw new CliError(
      exitCode.usage,
      `--svid-lifetime takes 1 to ${svidLifetimeSecondsMax} seconds, not ${svidLifetime}`,
    );
  // Its SVIDs are issued in the first two thirds of its life, and are to live at least the last third.
  const intermediateSecondsMin = 3 * svidLifetime;
  if (
    intermediateLifetime !== undefined &&
    (intermediateLifetime < intermediateSecondsMin || intermediateLifetime > rootLifetimeSecondsDefault)
  )
    throw new CliError(
      exitCode.usage,
      `--intermediate-lifetime takes ${intermediateSecondsMin} (three times --svid-lifetime) to ${rootLifetimeSecondsDefault} seconds, not ${intermediateLifetime}`,
    );
}

function requireListenAddress(text: string, flag: string): void {
  const [, port] = /^[A-Za-z0-9.:[\]-]+:([0-9]{1,5})$/.exec(text) ?? [];
  if (port !== undefined && Number(port) >= 1 && Number(port) <= 65_535) return;
  throw new CliError(
    exitCode.usage,
    `${flag} takes HOST:PORT with a port from 1 to 65535, e.g. 127.0.0.1:7443, not "${text}"`,
  );
}

function controlPlaneOf(directory: MeshDirectory, domain: KnownDomain, options: UpOptions): Supervised {
  const { dir, svidLifetime, intermediateLifetime, logLevel } = options;
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
      ...(intermediateLifetime === undefined
        ? []
        : ["--intermediate-lifetime", String(intermediateLifetime)]),
      "--log-level",
      logLevel,
      ...federationFlags(options),
    ],
    logFile: join(directory.logs, "control-plane.log"),
  };
}

function federationFlags(options: UpOptions): string[] {
  const { bundleEndpoint, bundleEndpointCertificate, bundleEndpointKey, federationCa } = options;
  return [
    ["--bundle-endpoint", bundleEndpoint],
    ["--bundle-endpoint-certificate", bundleEndpointCertificate],
    ["--bundle-endpoint-key", bundleEndpointKey],
    ["--federation-ca", federationCa],
  ].flatMap(([flag = "", value]) => (value === undefined ? [] : [flag, value]));
}

function agentOf(directory: MeshDirectory, domain: KnownDomain, options: UpOptions): Supervised {
  const { dir, logLevel, workloadListen = [] } = options;
  const listens = workloadListen.flatMap((address) => ["--workload-listen", address]);
  return {
    name: "node agent",
    args: [
      "node-agent",
      "--dir",
      dir,
      "--control-plane",
      domain.address,
      "--log-level",
      logLevel,
      ...listens,
      ...kubernetesFlags(options),
    ],
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

/**
 * The ceremony of the first start: keys, genesis, the CA. The operator's key signs here and in no process after. A log
 * that is there already, because a start was interrupted right here or domain.json was lost, is taken up as it is.
 */
async function found(directory: MeshDirectory, options: UpOptions): Promise<KnownDomain> {
  const keyStore = await openFileKeyStore(directory.controlPlaneKeys);
  await using storage = await openLogFiles(directory.controlPlaneLog);
  if (storage.journal.size === 0) await foundNow(directory, { options, keyStore, journal: storage.journal });
  const { genesis, trustDomain } = await genesisOf(storage.journal);
  const operator = await loadOperator(directory, operatorNameOf(trustDomain));
  const keys = await requireLogKeys(keyStore, trustDomain);
  if (!isSignedBy(genesis.note, operator))
    throw new CliError(
      exitCode.failed,
      `the log in ${directory.controlPlaneLog} was founded with another operator key than ${join(directory.operatorKeys, "operator")}: restore that key from a backup, or remove ${directory.path} to found another domain`,
    );
  const domain = {
    trustDomain,
    address: options.listen ?? `127.0.0.1:${await freePort(defaultPort)}`,
    genesis: genesis.hash,
    logKey: verifierKeyOf(keys.log),
    operator: operator.name,
  };
  await writeKnownDomain(directory, domain);
  return domain;
}

async function foundNow(
  directory: MeshDirectory,
  parts: { readonly options: UpOptions; readonly keyStore: KeyStore; readonly journal: Journal },
): Promise<void> {
  const { options, keyStore, journal } = parts;
  const trustDomain = requireTrustDomain(options.trustDomain);
  const founded = await foundDomain({
    trustDomain,
    isTestDomain: options.testDomain,
    wantsRequestTokens: true,
    operator: await loadOperator(directory, operatorNameOf(trustDomain)),
    keys: await loadLogKeys(keyStore, trustDomain),
    keyStore,
    clock: systemClock,
    randomBytes,
    ...(options.intermediateLifetime === undefined
      ? {}
      : { intermediateLifetimeSeconds: options.intermediateLifetime }),
  });
  await journal.appendAll(founded.entries);
}

function operatorNameOf(trustDomain: string): string {
  return `${trustDomain}/operator/founder`;
}

function requireTrustDomain(text: string): TrustDomain {
  const trustDomain = parseTrustDomain(text);
  if (trustDomain.ok) return trustDomain.value;
  throw new CliError(
    exitCode.usage,
    `"${text}" is no trust domain (${trustDomain.reason}); write it in lower case like a host name, e.g. shop.example`,
  );
}

/** What the log's first entry is called and which trust domain it founds. */
async function genesisOf(
  journal: Journal,
): Promise<{ genesis: { hash: string; note: SignedNote }; trustDomain: string }> {
  const entries: Uint8Array[] = [];
  for await (const entry of journal.read(0, Math.min(journal.size, foundingEntries))) entries.push(entry);
  const [first] = entries;
  const note = first === undefined ? undefined : parseNote(first);
  const state = new TrustState();
  if (
    first === undefined ||
    entries.length < foundingEntries ||
    note?.ok !== true ||
    !foldEntry(state, new MerkleTree(), first).ok ||
    state.genesis === undefined
  )
    throw new CliError(
      exitCode.failed,
      "the founding of this trust domain was interrupted: restore the directory from a backup, or remove it to found another domain",
    );
  return {
    genesis: { hash: base64Of(leafHash(first)), note: note.value },
    trustDomain: state.genesis.trustDomain,
  };
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
