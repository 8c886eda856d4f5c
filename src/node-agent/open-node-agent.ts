import type { KeyObject } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, type ConnectRouter, createClient } from "@connectrpc/connect";
import type { Clock, RandomBytes } from "../base/clock.ts";
import { hostAndPort } from "../base/host-and-port.ts";
import type { Log } from "../base/log.ts";
import { MeshError, messageOf } from "../base/mesh-error.ts";
import { softwareVersion } from "../base/software-version.ts";
import { AlarmSchema, type EndpointList, Mesh, mergeEndpoints, protocolVersion } from "../protocol/index.ts";
import { openWriterLock } from "../storage/index.ts";
import { openAdminListener } from "../telemetry/index.ts";
import {
  keepFollowing,
  type LogSource,
  LogView,
  nextChange,
  openRpcConnection,
  openRpcServer,
  QuickCalls,
  serveLog,
  tlsIdentityOf,
} from "../transport/index.ts";
import { entryRevision, type LogFollower, parseVerifierKey, verifierKeyOf } from "../trust-log/index.ts";
import { agentChecks } from "./agent-checks.ts";
import { type AgentMetrics, agentMetrics } from "./agent-metrics.ts";
import { requireClosedSocket } from "./closed-socket.ts";
import { fetchSnapshot } from "./fetch-snapshot.ts";
import type { Membership } from "./join-mesh.ts";
import { LogMirror } from "./log-mirror.ts";
import { OwnNode } from "./own-node.ts";
import { SidecarRegistry } from "./sidecar-registry.ts";
import { takeUpCopy } from "./take-up-copy.ts";
import type { AgentPort } from "./workload-api/agent-port.ts";
import { openWorkloadApi, type WorkloadApiOptions } from "./workload-api/open-workload-api.ts";

/** How often it is looked whether there is something to report. */
const reportIntervalMillis = 1_000;
/** The longest silence of an agent that has nothing to say; after 5 s the control plane counts it as gone. */
const silenceMillisMax = 1_900;
/** So many entries after the snapshot that it keeps, an agent asks for a newer one. */
const snapshotIntervalEntries = 2_048;
/** How long news waits for company: a hundred sidecars that take the same step make one report. */
const newsDelayMillis = 100;

/** What a node agent needs. */
export interface NodeAgentOptions {
  readonly membership: Membership;
  /** The key that the log knows this node by. */
  readonly nodeKey: KeyObject;
  /** Holds the copy of the trust log. */
  readonly folder: string;
  /** Where sidecars find the agent; the folder around it is what keeps other users out. */
  readonly socketPath: string;
  /** Where health and metrics are shown; any port of 127.0.0.1 unless given. */
  readonly health?: { readonly host: string; readonly port: number };
  /** Where workloads obtain identities over the SPIFFE Workload API; nowhere unless given. */
  readonly workloads?: WorkloadApiOptions;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  readonly random: () => number;
  readonly log: Log;
  /** Called with the log's new key once people have taken the log up under it; the agent's own folder has it already. */
  readonly recovered?: (logKey: string) => Promise<void>;
}

/** A running node agent. */
export interface NodeAgent extends AsyncDisposable {
  /** What the agent knows; another one after its copy of the log had to be read again. */
  readonly view: LogView;
  /** host:port of health and metrics, on loopback. */
  readonly healthAddress: string;
  /** Where workloads obtain identities, as `SPIFFE_ENDPOINT_SOCKET` has it. */
  readonly workloadAddresses: readonly string[];
}

/** Opens the agent of a node that has joined: follows the log, relays it, and asks for certificates on behalf of sidecars. */
export async function openNodeAgent(options: NodeAgentOptions): Promise<NodeAgent> {
  await using opened = new AsyncDisposableStack();
  const logKey = parseVerifierKey(options.membership.logKey);
  if (!logKey.ok) throw new MeshError("ERR_NODE_AGENT_CONFIG", "the membership's log key is malformed");
  const lock = opened.use(await openWriterLock(options.folder));
  const mirror = opened.use(
    await LogMirror.open({
      folder: join(options.folder, "log"),
      lock,
      logKey: logKey.value,
      log: options.log,
    }),
  );
  const relay = new Relay(options, mirror);
  await relay.restore();

  const health = opened.use(
    await openAdminListener({
      listen: options.health ?? { host: "127.0.0.1", port: 0 },
      checks: agentChecks(relay, { address: options.membership.address, socketPath: options.socketPath }),
      metrics: relay.metrics.page,
      log: options.log,
    }),
  );
  const closing = new AbortController();
  const following = keepFollowing((signal) => relay.followOnce(signal), {
    ...options,
    signal: closing.signal,
  });
  const reporting = setInterval(() => void relay.reportIfDue(), reportIntervalMillis);
  opened.defer(async () => {
    clearInterval(reporting);
    closing.abort();
    relay.close();
    await following;
  });
  // Of an agent that was killed; none that lives has it, since this one has the folder's lock.
  await rm(options.socketPath, { force: true });
  opened.use(
    await openRpcServer(
      { kind: "unix", path: options.socketPath },
      (router) => relay.routes(router),
      relay.quickCalls(closing.signal),
    ),
  );
  await requireClosedSocket(options.socketPath);
  relay.isServing = true;
  const workloads = opened.use(await openWorkloadApi(relay.port(), options.workloads ?? { endpoints: [] }));
  relay.workloads = () => workloads.instances;
  const running = opened.move();
  return {
    get view() {
      return relay.view;
    },
    healthAddress: health.address,
    workloadAddresses: workloads.addresses,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

class Relay {
  readonly #options: NodeAgentOptions;
  readonly #mirror: LogMirror;
  readonly #sidecars: SidecarRegistry;
  readonly ownNode: OwnNode;
  readonly #changed = new Set<() => void>();
  readonly metrics: AgentMetrics;
  /** Whether sidecars can find the agent. */
  isServing = false;
  /** How many instances are kept for workloads without a sidecar. */
  workloads: () => number = () => 0;
  #view: LogView;
  #endpoints: EndpointList | undefined;
  /** Of the log as it is in the copy. */
  #recoveredSizes: readonly number[] = [];
  /** The control plane, once it has proved to be it. */
  #upstream: Client<typeof Mesh> | undefined;
  #hasExpected = false;
  #reporting: Promise<void> | undefined;
  #soon: NodeJS.Timeout | undefined;
  /** The size at which a snapshot was last asked for or taken up. */
  #snapshotSize = 0;
  #reportedMillis = Number.NEGATIVE_INFINITY;

  constructor(options: NodeAgentOptions, mirror: LogMirror) {
    this.#options = options;
    this.#mirror = mirror;
    this.ownNode = new OwnNode(options.membership.node, options.log);
    this.#sidecars = new SidecarRegistry(
      (instance) => this.#view.follower.state.instances.get(instance)?.node === options.membership.node,
    );
    this.#view = this.#newView();
    this.metrics = agentMetrics({
      treeSize: () => this.#view.follower.size,
      stalenessSeconds: () => this.#view.stalenessSeconds,
      sidecars: () => this.#sidecars.size,
      workloads: () => this.workloads(),
      isConnected: () => this.#upstream !== undefined,
    });
  }

  /** What the Workload API has of this agent. */
  port(): AgentPort {
    const { membership, clock, randomBytes, random, log } = this.#options;
    return {
      node: membership.node,
      trustDomain: () => this.#view.follower.state.genesis?.trustDomain ?? "",
      clock,
      randomBytes,
      random,
      log,
      view: () => this.#view,
      onChange: (callback) => this.#onChange(callback),
      upstream: () => this.#upstream,
      arrive: (instance) => this.#sidecars.arrive(instance),
      report: (statuses) => {
        if (this.#sidecars.report(statuses, [])) this.#reportSoon();
      },
      end: (instances) => {
        this.#sidecars.end(instances);
        return this.#reportNews();
      },
    };
  }

  get view(): LogView {
    return this.#view;
  }

  /** Takes up from the copy on disk; one that is not the log it says it is only costs reading the log again. */
  async restore(): Promise<void> {
    const { membership, log } = this.#options;
    const taken = await takeUpCopy(this.#mirror, membership.genesis, log);
    this.#view = this.#newView(taken?.follower);
    this.#snapshotSize = taken?.fromSize ?? 0;
    this.#recoveredSizes = this.#view.follower.state.genesis?.recoveredSizes ?? [];
  }

  #newView(follower?: LogFollower): LogView {
    const { membership, clock } = this.#options;
    return new LogView({
      anchor: { genesis: membership.genesis, logKey: this.#mirror.logKey },
      clock,
      remembered: this.#mirror.remembered,
      follower,
      events: {
        stepped: async (step) => {
          const { checkpoint, state } = this.#view.follower;
          if (checkpoint !== undefined) await this.#mirror.keep(step, checkpoint);
          this.#recoveredSizes = state.genesis?.recoveredSizes ?? [];
          this.ownNode.note(this.#view.follower);
          this.#notify();
          void this.#keepSnapshot();
        },
        recovered: async (recovery) => {
          await this.#mirror.noteRecovery(recovery);
          await this.#options.recovered?.(verifierKeyOf(recovery.logKey));
        },
        endpoints: (come) => {
          this.#endpoints = mergeEndpoints(this.#endpoints, come);
          this.#notify();
        },
        alarm: (reason, detail) => this.#alarm(reason, detail),
      },
    });
  }

  /** Kept for the real control plane, and told at once to whoever reads this process's log. */
  #alarm(reason: string, detail: string): void {
    this.#options.log.warn("alarm", { reason, detail });
    this.#sidecars.alarm(create(AlarmSchema, { reason, detail }));
  }

  /** After a write that failed, what is known is more than what is kept and can be served: back to that. */
  async #matchCopy(): Promise<void> {
    if (this.#view.follower.size <= (this.#mirror.remembered?.size ?? 0)) return;
    await this.#mirror.reopen();
    await this.restore();
  }

  /** One connection to the control plane, for as long as it lasts. */
  async followOnce(signal: AbortSignal): Promise<void> {
    const { membership, nodeKey, randomBytes, log } = this.#options;
    const target = {
      kind: "tls" as const,
      ...hostAndPort(membership.address),
      identity: tlsIdentityOf(nodeKey, randomBytes),
    };
    await this.#matchCopy();
    this.metrics.connections.inc();
    using connection = await openRpcConnection(target);
    const client = createClient(Mesh, connection.transport);
    try {
      const { fromSize } = this.view.begin();
      const checkpoint = this.#mirror.note;
      const request = { fromSize, checkpoint, instance: "", protocolVersion, acceptsSnapshot: false };
      for await (const update of client.follow(request, { signal })) {
        // Hearsay waits until the server has proved who it is; a step proves itself.
        if (update.content.case === "endpoints" && this.#upstream !== client) continue;
        const taken = await this.view.take(update);
        if (!taken.ok && this.view.standstill === undefined)
          throw new MeshError("ERR_NODE_AGENT_RELAY", `${taken.reason}: ${taken.detail}`);
        if (!this.view.follower.hasCaughtUp) continue;
        if (!this.view.follower.state.hasServerKey(connection.serverKey)) {
          this.#alarm("unknown-server", `${membership.address} does not hold a key that the log names`);
          throw new MeshError("ERR_NODE_AGENT_RELAY", "the server does not hold a key that the log names");
        }
        if (this.#upstream === client) continue;
        this.#upstream = client;
        this.#expectSidecars();
        this.#sidecars.tellAll();
        this.#notify();
        log.info("following the control plane", { size: this.view.follower.size });
        await this.report();
      }
    } finally {
      if (this.#upstream === client) this.#upstream = undefined;
    }
  }

  /** Once: later on the going of each is heard of. */
  #expectSidecars(): void {
    if (this.#hasExpected) return;
    this.#hasExpected = true;
    const { node } = this.#options.membership;
    const own = [...this.#view.follower.state.instances.entries()].filter(([, row]) => row.node === node);
    this.#sidecars.expect(own.map(([instance]) => instance));
  }

  /** Reports what others wait for, and with it whatever else comes within a moment. */
  #reportSoon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      void this.#reportNews();
    }, newsDelayMillis);
  }

  /** Reports also what came while another report was on its way. */
  async #reportNews(): Promise<void> {
    await this.#reporting;
    await this.report();
  }

  /** Reports what has changed, or that there is somebody. */
  async reportIfDue(): Promise<void> {
    const silentMillis = this.#options.clock.monotonicMillis() - this.#reportedMillis;
    if (this.#sidecars.hasNews || silentMillis >= silenceMillisMax) await this.report();
  }

  /** Tells the control plane what sidecars have said; one report at a time, so that none overtakes another. */
  report(): Promise<void> {
    this.#reporting ??= this.#reportNow().finally(() => {
      this.#reporting = undefined;
    });
    return this.#reporting;
  }

  async #reportNow(): Promise<void> {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    const pending = this.#sidecars.pending();
    this.#reportedMillis = this.#options.clock.monotonicMillis();
    try {
      await upstream.report(
        {
          ...pending,
          agentSize: BigInt(this.view.follower.size),
          softwareVersion,
          entryRevision,
          clockSeconds: this.#options.clock.nowSeconds(),
        },
        { timeoutMs: 5_000 },
      );
      this.#sidecars.delivered(pending);
    } catch {
      // Kept for the next time; a lost connection is noticed by the stream.
    }
  }

  get #controlPlane(): Client<typeof Mesh> {
    if (this.#upstream === undefined)
      throw new ConnectError("no control plane at the moment", Code.Unavailable);
    return this.#upstream;
  }

  /** The calls of sidecars that all of them make at once, whenever the log has grown. */
  quickCalls(closing: AbortSignal): QuickCalls {
    return new QuickCalls()
      .stream(Mesh.method.follow, (request, signal) =>
        this.#serve(request, AbortSignal.any([signal, closing])),
      )
      .unary(Mesh.method.report, ({ followers, alarms }) => {
        if (this.#sidecars.report(followers, alarms)) this.#reportSoon();
        return {};
      });
  }

  /** The other calls of sidecars. */
  routes(router: ConnectRouter): void {
    router.service(Mesh, {
      issueSvid: (request) => this.#controlPlane.issueSvid(request, { timeoutMs: 10_000 }),
      // Handed on unread: each list is signed by its authority.
      readRevocationLists: () => this.#controlPlane.readRevocationLists({}, { timeoutMs: 10_000 }),
    });
  }

  close(): void {
    clearTimeout(this.#soon);
    this.#sidecars.close();
  }

  async *#serve(
    request: { instance: string; fromSize: bigint; acceptsSnapshot: boolean; checkpoint: Uint8Array },
    signal: AbortSignal,
  ): ReturnType<typeof serveLog> {
    const leave = this.#sidecars.arrive(request.instance);
    if (leave === false)
      throw new ConnectError("no UUID, or too many sidecars on this node", Code.ResourceExhausted);
    // A sidecar that went without reading leaves this suspended for ever, so its going is heard of from the call.
    signal.addEventListener("abort", leave, { once: true });
    try {
      yield* serveLog(
        this.#source(),
        { ...request, fromSize: Number(request.fromSize), isLive: true },
        signal,
      );
    } finally {
      leave();
      void this.#reportNews();
    }
  }

  /** The agent's copy of the log, for sidecars. */
  #source(): LogSource {
    const newest = (): LogSource["newest"] => this.#mirror.newest;
    const endpoints = (): LogSource["endpoints"] => this.#endpoints;
    const recoveredSizes = (): readonly number[] => this.#recoveredSizes;
    return {
      get recoveredSizes() {
        return recoveredSizes();
      },
      get newest() {
        return newest();
      },
      get endpoints() {
        return endpoints();
      },
      read: (from, to) => this.#mirror.read(from, to),
      snapshot: () => this.#snapshot(),
      changed: (signal) => nextChange([(callback) => this.#onChange(callback)], signal),
    };
  }

  /** Keeps the control plane's newest snapshot every so many entries, so that a start folds only what came after. */
  async #keepSnapshot(): Promise<void> {
    const { size } = this.#view.follower;
    if (this.#upstream === undefined || size < this.#snapshotSize + snapshotIntervalEntries) return;
    this.#snapshotSize = size;
    try {
      const snapshot = await this.#snapshot();
      if (snapshot !== undefined) await this.#mirror.saveSnapshot(snapshot);
    } catch (error) {
      this.#options.log.warn("snapshot not kept", { error: messageOf(error) });
    }
  }

  /**
   * The control plane's newest snapshot, or the one kept while it is away, so that who starts need not fold the whole
   * history. Relayed unread: it is checked against genesis and the log by whoever takes up from it.
   */
  async #snapshot(): ReturnType<LogSource["snapshot"]> {
    const upstream = this.#upstream;
    return upstream === undefined
      ? this.#mirror.snapshot()
      : fetchSnapshot(upstream, this.#mirror.newest?.size ?? 0);
  }

  #onChange(callback: () => void): () => void {
    this.#changed.add(callback);
    return () => this.#changed.delete(callback);
  }

  #notify(): void {
    for (const finish of this.#changed) finish();
  }
}
