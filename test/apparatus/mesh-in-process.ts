import { createPublicKey, type KeyObject, randomBytes as nodeRandomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, createClient } from "@connectrpc/connect";
import { base64Of, hexOf } from "../../src/base/bytes.ts";
import type { JsonObject } from "../../src/base/canonical-json.ts";
import type { Clock, RandomBytes } from "../../src/base/clock.ts";
import {
  beginGeneration,
  type ControlPlane,
  type FoundingKeys,
  foundDomain,
  loadLogKeys,
  logKeyFile,
  type OwnRole,
  openControlPlane,
  openLogFiles,
  readLogAt,
} from "../../src/control-plane/index.ts";
import {
  exportPrivateKey,
  generateEd25519,
  importPrivateKey,
  publicKeyBytes,
  sha256,
} from "../../src/crypto/index.ts";
import { type AppProtocol, openSidecar, type ProxyOptions } from "../../src/data-plane/index.ts";
import {
  type CertificateAuthority,
  openAuthority,
  parseServiceName,
  parseTrustDomain,
} from "../../src/identity/index.ts";
import {
  hostAndPort,
  joinMesh,
  type Membership,
  type NodeAgent,
  openNodeAgent,
} from "../../src/node-agent/index.ts";
import { Admin, type GetStatusResponse } from "../../src/protocol/index.ts";
import { type Journal, openMemoryJournal, openMemoryKeyStore } from "../../src/storage/index.ts";
import { openRpcConnection, tlsIdentityOf } from "../../src/transport/index.ts";
import {
  type DataClass,
  type EntryKind,
  entryVersion,
  leafHash,
  logKeyName,
  type NoteSigner,
  parseVerifierKey,
  signEntry,
  verifierKeyOf,
} from "../../src/trust-log/index.ts";
import { silentLog } from "../fakes/silent-log.ts";
import { openPlainApp, type PlainApp } from "./plain-app.ts";
import { type ShiftedClock, shiftedClock } from "./shifted-clock.ts";
import { Workload } from "./workload.ts";

const trustDomainText = "test.example";
const nodeName = "here";

/** The machine's randomness. */
export const randomBytes: RandomBytes = (length) => new Uint8Array(nodeRandomBytes(length));

/** A rule as a test writes it. */
export interface RuleForTests {
  readonly effect?: "allow" | "deny";
  readonly methods?: readonly string[];
  readonly paths?: readonly string[];
}

/** What a workload is opened with where a test wants something unusual. */
export interface WorkloadOptions {
  readonly clock?: ShiftedClock;
  readonly journal?: Journal;
  readonly app?: PlainApp;
  /** What it speaks. */
  readonly appProtocol?: AppProtocol;
  /** The services that it calls over TCP. */
  readonly tcp?: readonly string[];
  /** Another agent than the real one. */
  readonly agentSocketPath?: string;
  /** Where spans go. */
  readonly tracing?: Parameters<typeof openSidecar>[0]["tracing"];
  /** How its application is found healthy. */
  readonly health?: Parameters<typeof openSidecar>[0]["health"];
  /** What it serves besides its service's own name. */
  readonly prefixes?: readonly string[];
  readonly dangerBelieveAdvertisements?: boolean;
  /** Called where its instance is revoked. */
  readonly revoked?: (reason: string) => void;
  /** What it leaves out of the check of request tokens. */
  readonly dangerSkippedTokenSteps?: ProxyOptions["dangerSkippedTokenSteps"];
}

/** What a mesh is founded with where a test wants something unusual. */
export interface FoundingOptions
  extends Pick<
    Parameters<typeof openControlPlane>[0],
    "bundleEndpoint" | "federationAuthorities" | "vulnerabilityFeed" | "standingThresholds"
  > {
  readonly trustDomain?: string;
  readonly svidLifetimeSeconds?: number;
  readonly clock?: Clock;
  /** Of its agents, where that is another one. */
  readonly agentClock?: Clock;
  /** Has its agents serve workloads. */
  readonly workloads?: Parameters<typeof openNodeAgent>[0]["workloads"];
}

/**
 * A whole mesh in this process: a control plane, a node agent and sidecars as in production, over loopback and a Unix
 * socket. What tests do to it, they do through the trust log, the network, or by stopping a part.
 */
export class MeshInProcess implements AsyncDisposable {
  readonly folder: string;
  readonly trustDomain: string;
  readonly genesis: string;
  readonly keys: FoundingKeys;
  /** The CAs with their keys, as a thief of the control plane has them. */
  readonly root: CertificateAuthority;
  readonly intermediate: CertificateAuthority;
  readonly #options: FoundingOptions & { readonly svidLifetimeSeconds: number; readonly clock: Clock };
  readonly #keyStore: ReturnType<typeof openMemoryKeyStore>;
  readonly #operator: NoteSigner;
  readonly #nodeKey = generateEd25519();
  readonly #workloads = new Set<Workload>();
  /** That of the operator's last entry at the founding: the root, and two for each of two token keys. */
  #sequence = 5;
  #port = 0;
  #storage: Awaited<ReturnType<typeof openLogFiles>> | undefined;
  #controlPlane: ControlPlane | undefined;
  #agent: NodeAgent | undefined;
  /** Agents of more nodes of this machine, as if they were others. */
  readonly #otherAgents: NodeAgent[] = [];
  #membership: Membership | undefined;
  #generation = 1;
  #logKey: NoteSigner;

  private constructor(parts: {
    trustDomain: string;
    folder: string;
    genesis: string;
    keys: FoundingKeys;
    root: CertificateAuthority;
    intermediate: CertificateAuthority;
    keyStore: ReturnType<typeof openMemoryKeyStore>;
    operator: NoteSigner;
    options: FoundingOptions & { readonly svidLifetimeSeconds: number; readonly clock: Clock };
  }) {
    this.trustDomain = parts.trustDomain;
    this.folder = parts.folder;
    this.genesis = parts.genesis;
    this.keys = parts.keys;
    this.#logKey = parts.keys.log;
    this.root = parts.root;
    this.intermediate = parts.intermediate;
    this.#keyStore = parts.keyStore;
    this.#operator = parts.operator;
    this.#options = parts.options;
  }

  /** Founds a trust domain and starts its control plane and the agent of one node. */
  static async found(options: FoundingOptions = {}): Promise<MeshInProcess> {
    const { svidLifetimeSeconds = 3600, clock = shiftedClock() } = options;
    const trustDomain = parseTrustDomain(options.trustDomain ?? trustDomainText);
    if (!trustDomain.ok) throw new Error(trustDomain.reason);
    const folder = await mkdtemp(join(tmpdir(), "troth-mesh-"));
    const keyStore = openMemoryKeyStore();
    const operator = { name: `${trustDomain.value}/operator/tester`, ...generateEd25519() };
    const keys = await loadLogKeys(keyStore, trustDomain.value);
    const founded = await foundDomain({
      trustDomain: trustDomain.value,
      isTestDomain: true,
      operator,
      keys,
      keyStore,
      clock,
      randomBytes,
    });
    const authority = async (name: string): Promise<CertificateAuthority> =>
      openAuthority(
        trustDomain.value,
        (await keyStore.load(`${name}-certificate`)) ?? new Uint8Array(0),
        importPrivateKey((await keyStore.load(name)) ?? new Uint8Array(0)),
      );
    const mesh = new MeshInProcess({
      trustDomain: trustDomain.value,
      folder,
      genesis: base64Of(leafHash(founded.entries[0] ?? new Uint8Array(0))),
      keys,
      root: await authority("ca-root"),
      intermediate: await authority("ca-intermediate"),
      keyStore,
      operator,
      options: { ...options, svidLifetimeSeconds, clock },
    });
    {
      await using storage = await openLogFiles(join(folder, "log"));
      await storage.journal.appendAll(founded.entries);
    }
    await mesh.startControlPlane();
    mesh.#sequence = mesh.controlPlane.writer.state.authors.get(operator.name)?.sequence ?? 1;
    mesh.#membership = await mesh.#join(nodeName, mesh.#nodeKey.privateKey);
    await mesh.startAgent();
    return mesh;
  }

  /** The control plane; throws while it is stopped. */
  get controlPlane(): ControlPlane {
    if (this.#controlPlane === undefined) throw new Error("the control plane is stopped");
    return this.#controlPlane;
  }

  /** The agent of the first node; throws while it is stopped. */
  get agent(): NodeAgent {
    if (this.#agent === undefined) throw new Error("the agent is stopped");
    return this.#agent;
  }

  /** host:port where the control plane is, or was before it was stopped. */
  get controlPlaneAddress(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get agentSocketPath(): string {
    return join(this.folder, "agent.sock");
  }

  get agentFolder(): string {
    return join(this.folder, "agent");
  }

  get logFolder(): string {
    return join(this.folder, "log");
  }

  get tilesFolder(): string {
    return join(this.folder, "tiles");
  }

  /** What the present log key signs as; the one of genesis until the log was taken up again. */
  get logKey(): NoteSigner {
    return this.#logKey;
  }

  /** The operator signs that the log goes on after its first `size` entries; the control plane must be stopped. */
  async recover(size: number): Promise<void> {
    const at = await readLogAt(this.logFolder, size);
    if (!at.ok) throw new Error(at.detail);
    const { state, tree } = at.value;
    const generation = this.#generation + 1;
    const name = logKeyName(this.trustDomain, generation);
    const logKey = { name, ...generateEd25519() };
    await this.#keyStore.save(logKeyFile(generation), exportPrivateKey(logKey.privateKey));
    const body = { generation, size, root: base64Of(tree.root()), logKey: verifierKeyOf(logKey) };
    const author = this.#operator.name;
    const sequence = (state.authors.get(author)?.sequence ?? 0) + 1;
    const statement = {
      kind: "log.recover",
      version: entryVersion,
      log: this.genesis,
      author,
      sequence,
      body,
    };
    const entry = signEntry(statement, [this.#operator]);
    const folders = {
      log: this.logFolder,
      tiles: this.tilesFolder,
      aside: join(this.folder, `log.before-generation-${generation}`),
    };
    const begun = await beginGeneration(folders, { size, entry, logKey }, silentLog);
    if (!begun.ok) throw new Error(`${begun.reason}: ${begun.detail}`);
    this.#generation = generation;
    this.#logKey = logKey;
    this.#sequence = sequence;
  }

  async startControlPlane(): Promise<void> {
    const { svidLifetimeSeconds, clock, bundleEndpoint, federationAuthorities } = this.#options;
    const { vulnerabilityFeed, standingThresholds } = this.#options;
    this.#storage = await openLogFiles(this.logFolder);
    this.#controlPlane = await openControlPlane({
      trustDomain: this.trustDomain,
      storage: this.#storage,
      keyStore: this.#keyStore,
      tilesFolder: this.tilesFolder,
      generation: this.#generation,
      proposalsFolder: join(this.folder, "proposals"),
      listen: { host: "127.0.0.1", port: this.#port },
      ...(bundleEndpoint === undefined ? {} : { bundleEndpoint }),
      ...(federationAuthorities === undefined ? {} : { federationAuthorities }),
      ...(vulnerabilityFeed === undefined ? {} : { vulnerabilityFeed }),
      ...(standingThresholds === undefined ? {} : { standingThresholds }),
      svidLifetimeSeconds,
      clock,
      randomBytes,
      log: silentLog,
    });
    this.#port = hostAndPort(this.#controlPlane.address).port;
  }

  async stopControlPlane(): Promise<void> {
    await this.#controlPlane?.[Symbol.asyncDispose]();
    await this.#storage?.[Symbol.asyncDispose]();
    this.#controlPlane = undefined;
  }

  async startAgent(): Promise<void> {
    if (this.#membership === undefined) throw new Error("not joined");
    this.#agent = await this.#openAgent(this.#membership, {
      nodeKey: this.#nodeKey.privateKey,
      folder: this.agentFolder,
      socketPath: this.agentSocketPath,
    });
  }

  async stopAgent(): Promise<void> {
    await this.#agent?.[Symbol.asyncDispose]();
    this.#agent = undefined;
    await rm(this.agentSocketPath, { force: true });
  }

  /** Lets one more node join, with an agent of its own; answers with the agent's socket. */
  async joinNode(name: string): Promise<string> {
    const nodeKey = generateEd25519();
    const socketPath = join(this.folder, `${name}.sock`);
    const membership = await this.#join(name, nodeKey.privateKey);
    const agent = await this.#openAgent(membership, {
      nodeKey: nodeKey.privateKey,
      folder: join(this.folder, name),
      socketPath,
    });
    this.#otherAgents.push(agent);
    return socketPath;
  }

  /** Puts an entry into the log that the operator has signed; throws where the log does not take it. */
  async put(kind: EntryKind, body: JsonObject): Promise<void> {
    const written = await this.controlPlane.writer.submit([this.sign(kind, body)]);
    if (!written.ok) throw new Error(`${kind}: ${written.reason}: ${written.detail}`);
  }

  /** The operator's next entry, of whatever kind. */
  sign(kind: string, body: JsonObject): Uint8Array {
    this.#sequence += 1;
    const { name: author } = this.#operator;
    const sequence = this.#sequence;
    return signEntry({ kind, version: entryVersion, log: this.genesis, author, sequence, body }, [
      this.#operator,
    ]);
  }

  /** Registers a service that may run here. */
  async putService(name: string, dataClass: DataClass = "internal"): Promise<void> {
    await this.put("service.put", { name, nodes: ["*"], dataClass, team: "", environment: "", labels: {} });
  }

  /** Puts a rule; it allows everything from one to the other unless it says otherwise. */
  async putRule(from: string, to: string, rule: RuleForTests = {}): Promise<void> {
    const { effect = "allow", methods = [], paths = [] } = rule;
    await this.put("rule.put", { from, to, effect, methods, paths });
  }

  /** Declares that a registered service is called over TCP. */
  async putTcp(service: string): Promise<void> {
    await this.put("traffic.put", { service, protocol: "tcp", routes: [] });
  }

  /** Lets a service serve a prefix, and so many components below it. */
  async grant(prefix: string, holder: string, depthMax = 0): Promise<void> {
    await this.put("prefix.grant", { prefix, holder, depthMax, mayDelegate: false, notAfterSeconds: 0 });
  }

  /** Registers a service and runs one instance of it behind a sidecar; resolves once others can call it. */
  async open(service: string, options: WorkloadOptions = {}): Promise<Workload> {
    if (!this.controlPlane.writer.state.services.has(service)) await this.putService(service);
    const clock = options.clock ?? shiftedClock();
    const journal = options.journal ?? openMemoryJournal();
    const app = options.app ?? (await openPlainApp());
    const proxy = this.proxyOptions(service, { ...options, clock, journal });
    const { instance } = proxy;
    const sidecar = await openSidecar({
      ...proxy,
      prefixes: (options.prefixes ?? []).map(serviceNameOf),
      dangerBelieveAdvertisements: options.dangerBelieveAdvertisements === true,
      app: { host: "127.0.0.1", port: app.port, protocol: options.appProtocol ?? "auto" },
      health: options.health,
      inbound: { host: "127.0.0.1", port: 0 },
      outbound: { host: "127.0.0.1", port: 0 },
      tcp: (options.tcp ?? []).map((name) => ({
        service: serviceNameOf(name),
        listenOn: { host: "127.0.0.1", port: 0 },
      })),
    });
    const workload = new Workload({ service, instance, sidecar, app, journal, clock });
    this.#workloads.add(workload);
    return workload;
  }

  /** What a proxy of any role in this mesh is opened with. */
  proxyOptions(
    service: string,
    options: Pick<
      WorkloadOptions,
      "clock" | "journal" | "agentSocketPath" | "tracing" | "revoked" | "dangerSkippedTokenSteps"
    > = {},
  ): ProxyOptions {
    const logKey = parseVerifierKey(verifierKeyOf(this.keys.log));
    if (!logKey.ok) throw new Error(logKey.reason);
    const journal = options.journal ?? openMemoryJournal();
    return {
      service: serviceNameOf(service),
      instance: randomUUID(),
      anchor: { genesis: this.genesis, logKey: logKey.value, trustDomain: this.trustDomain },
      agentSocketPath: options.agentSocketPath ?? this.agentSocketPath,
      audit: { journal, saveCheckpoint: () => Promise.resolve() },
      ...(options.tracing === undefined ? {} : { tracing: options.tracing }),
      ...(options.revoked === undefined ? {} : { revoked: options.revoked }),
      ...(options.dangerSkippedTokenSteps === undefined
        ? {}
        : { dangerSkippedTokenSteps: options.dangerSkippedTokenSteps }),
      clock: options.clock ?? shiftedClock(),
      random: Math.random,
      randomBytes,
      log: silentLog,
    };
  }

  /** What the control plane tells of the mesh. */
  status(): Promise<GetStatusResponse> {
    return this.#asOperator((admin) => admin.getStatus({}));
  }

  /** What the control plane has been told that should not have happened. */
  async alarms(): Promise<{ readonly reason: string; readonly detail: string }[]> {
    const { alarms } = await this.status();
    return alarms.map(({ reason, detail }) => ({ reason, detail }));
  }

  /** Has the control plane make an authority, trusts it where it is a root, and activates it; answers with its id. */
  async addAuthority(kind: "root" | "intermediate"): Promise<string> {
    const { certificate } = await this.#asOperator((admin) => admin.prepareAuthority({ kind }));
    if (kind === "root") await this.put("ca.trust", { certificate: base64Of(certificate) });
    const authority = hexOf(sha256(certificate));
    await this.put("ca.activate", { authority });
    return authority;
  }

  /** Has the control plane make the next key of a role, and act by it; answers with it. */
  async addOwnKey(role: OwnRole): Promise<NoteSigner> {
    const { key } = await this.#asOperator((admin) => admin.prepareOwnKey({ role }));
    const { name = "", publicKey = new Uint8Array(0) } = key ?? {};
    await this.put("key.put", { name, role, publicKey: base64Of(publicKey) });
    return this.ownKey(name);
  }

  /** A key of the control plane, as its thief has it. */
  async ownKey(name: string): Promise<NoteSigner> {
    const kept = await this.#keyStore.load(name.slice(this.trustDomain.length + 1));
    const privateKey = importPrivateKey(kept ?? new Uint8Array(0));
    return { name, privateKey, publicKey: createPublicKey(privateKey) };
  }

  async #asOperator<Answer>(call: (admin: Client<typeof Admin>) => Promise<Answer>): Promise<Answer> {
    const identity = tlsIdentityOf(this.#operator.privateKey, randomBytes);
    using connection = await openRpcConnection({
      kind: "tls",
      ...hostAndPort(this.controlPlane.address),
      identity,
    });
    // Awaited, since the connection ends with this function.
    return await call(createClient(Admin, connection.transport));
  }

  /** Has the bundle of a federated trust domain read now; answers with why it was not. */
  async refreshFederation(trustDomain: string): Promise<string> {
    const identity = tlsIdentityOf(this.#operator.privateKey, randomBytes);
    const target = { kind: "tls", ...hostAndPort(this.controlPlane.address), identity } as const;
    using connection = await openRpcConnection(target);
    const { standing } = await createClient(Admin, connection.transport).refreshFederation({ trustDomain });
    return standing?.lastError ?? "not federated";
  }

  /** Waits until every sidecar here has taken all entries that are in the log now. */
  async settled(): Promise<void> {
    const size = this.controlPlane.writer.newest?.size ?? 0;
    for (const workload of this.#workloads)
      await until(async () => workload.isClosed || (await workload.metric("troth_proxy_tree_size")) >= size);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const workload of this.#workloads) await workload[Symbol.asyncDispose]();
    for (const agent of this.#otherAgents) await agent[Symbol.asyncDispose]();
    await this.stopAgent();
    await this.stopControlPlane();
    await rm(this.folder, { recursive: true, force: true });
  }

  #openAgent(
    membership: Membership,
    parts: Pick<Parameters<typeof openNodeAgent>[0], "nodeKey" | "folder" | "socketPath">,
  ): Promise<NodeAgent> {
    const { workloads, clock, agentClock = clock } = this.#options;
    return openNodeAgent({
      membership,
      ...parts,
      ...(workloads === undefined ? {} : { workloads }),
      clock: agentClock,
      randomBytes,
      random: Math.random,
      log: silentLog,
    });
  }

  async #join(node: string, nodeKey: KeyObject): Promise<Membership> {
    const invite = generateEd25519();
    const inviteKey = base64Of(publicKeyBytes(invite.publicKey));
    const expiresAtSeconds = Math.floor(this.#options.clock.nowSeconds()) + 600;
    await this.put("node.invite", { node, inviteKey, expiresAtSeconds });
    const token = {
      node,
      address: this.controlPlane.address,
      genesis: this.genesis,
      logKey: verifierKeyOf(this.keys.log),
      inviteKey: base64Of(exportPrivateKey(invite.privateKey)),
    };
    const { clock } = this.#options;
    return joinMesh(token, { nodeKey, clock, randomBytes });
  }
}

/** Waits until something is so; throws when it has not come about in ten seconds. */
export async function until(isSo: () => boolean | Promise<boolean>, what = "it"): Promise<void> {
  const endMillis = performance.now() + 10_000;
  while (!(await isSo())) {
    if (performance.now() > endMillis) throw new Error(`${what} did not come about`);
    await sleep(10);
  }
}

function serviceNameOf(text: string): Parameters<typeof openSidecar>[0]["service"] {
  const name = parseServiceName(text);
  if (!name.ok) throw new Error(name.reason);
  return name.value;
}
