import { create } from "@bufbuild/protobuf";
import { type AuditLog, openAuditLog } from "../audit/index.ts";
import { MeshError } from "../base/mesh-error.ts";
import { AlarmSchema, type FollowerStatus, FollowerStatusSchema } from "../protocol/index.ts";
import { LogView } from "../transport/index.ts";
import type { NoteSigner } from "../trust-log/index.ts";
import { AgentLink } from "./agent-link.ts";
import { PeerChecker } from "./check-peer.ts";
import { clockNote } from "./clock-note.ts";
import { CoarseTimer } from "./http1/index.ts";
import { LivePeers } from "./live-peers.ts";
import type { ProxyContext } from "./proxy-context.ts";
import { type ProxyMetrics, proxyMetrics } from "./proxy-metrics.ts";
import { RefusedConnections } from "./refused-connections.ts";
import { ServiceRouter } from "./service-router.ts";
import type { SidecarOptions } from "./sidecar-options.ts";
import { type SvidInUse, SvidKeeper } from "./svid-keeper.ts";

const sweepIntervalMillis = 500;
/** After a rotation, connections are replaced over this part of the new SVID's life, and over this long at most. */
const rotationShare = 0.1;
const rotationMillisMax = 10_000;
const catchUpMillisMax = 60_000;

/**
 * What a sidecar is besides its listeners: its view of the log and the link it comes through, its SVID, the
 * connections that depend on both, and what it reports of itself.
 */
export class SidecarCore implements AsyncDisposable {
  readonly context: ProxyContext;
  readonly router: ServiceRouter;
  /** Where the listeners on loopback are, once they are. */
  adminAddress = "";
  outboundAddress = "";
  readonly #options: SidecarOptions;
  readonly #link: AgentLink;
  readonly #audit: AuditLog;
  readonly #timer: CoarseTimer;
  readonly #sweeping: NodeJS.Timeout;
  readonly #closing = new AbortController();
  #keeper: SvidKeeper | undefined;
  #rotated: ((svid: SvidInUse) => void) | undefined;
  #advertised = "";
  #isClockWrong = false;

  private constructor(options: SidecarOptions, view: LogView, audit: AuditLog, metrics: ProxyMetrics) {
    const { service, instance, clock, log, random } = options;
    this.#options = options;
    this.#audit = audit;
    this.#timer = new CoarseTimer(clock).start();
    const livePeers = new LivePeers((sha256) => view.follower.state.certificates.has(sha256));
    const alarm = (reason: string, detail: string): void => this.alarm(reason, detail);
    this.context = {
      service,
      instance,
      view,
      livePeers,
      audit,
      metrics,
      clock,
      log,
      timer: this.#timer,
      checker: new PeerChecker({ view, clock, ownService: service }),
      refused: new RefusedConnections({ audit, metrics, log, alarm }),
    };
    this.router = new ServiceRouter(this.context, () => this.#svid(), random);
    this.#sweeping = setInterval(() => this.#sweep(), sweepIntervalMillis);
    this.#link = new AgentLink({
      socketPath: options.agentSocketPath,
      instance,
      view,
      clock,
      random,
      log,
      status: () => this.#status(),
    });
  }

  /** Opens the audit log and begins to follow the trust log. */
  static async open(options: SidecarOptions, auditSigner: NoteSigner): Promise<SidecarCore> {
    const { anchor, clock, service, instance } = options;
    const parts: { core?: SidecarCore } = {};
    const view = new LogView({
      anchor,
      clock,
      events: {
        stepped: () => parts.core?.stepped(),
        endpoints: (endpoints) => parts.core?.router.setEndpoints(endpoints),
        alarm: (reason, detail) => parts.core?.alarm(reason, detail),
      },
    });
    const treeSize = (): number => view.follower.size;
    const audit = await openAuditLog({
      ...options.audit,
      signer: auditSigner,
      clock,
      treeSize,
      log: options.log,
    });
    audit.record({ type: "boot", instance, service, tornBytes: options.audit.journal.tornBytes });
    const metrics = proxyMetrics({
      stalenessSeconds: () => view.stalenessSeconds,
      treeSize,
      certificateNotAfterSeconds: () => parts.core?.certificateNotAfterSeconds ?? 0,
      openPeers: () => parts.core?.context.livePeers.size ?? 0,
    });
    parts.core = new SidecarCore(options, view, audit, metrics);
    return parts.core;
  }

  /** Waits for the first checkpoint; without the log nothing can be judged. */
  async haveCaughtUp(): Promise<void> {
    const { view } = this.context;
    const hasCome = await view.waitUntil(() => view.follower.hasCaughtUp, catchUpMillisMax);
    if (!hasCome)
      throw new MeshError(
        "ERR_DATA_PLANE_AGENT",
        `no trust log from the node agent at ${this.#options.agentSocketPath}; is troth up running?`,
      );
  }

  /** Obtains the first SVID and keeps it renewed. */
  async obtainSvid(auditKey: string): Promise<SvidKeeper> {
    const { clock, random, log, service } = this.#options;
    this.#keeper = await SvidKeeper.open({
      request: (certificateRequest) => this.#link.issueSvid({ service, certificateRequest, auditKey }),
      rotated: (svid) => {
        this.#rotated?.(svid);
        const lifetimeMillis = (svid.notAfterSeconds - svid.notBeforeSeconds) * 1000;
        this.router.drain(Math.min(rotationMillisMax, lifetimeMillis * rotationShare));
      },
      clock,
      random,
      log,
      signal: this.#closing.signal,
    });
    return this.#keeper;
  }

  /** When the SVID in use ends; 0 before the first. */
  get certificateNotAfterSeconds(): number {
    return this.#keeper?.current.notAfterSeconds ?? 0;
  }

  /** Calls back with every SVID after the first. */
  onRotation(callback: (svid: SvidInUse) => void): void {
    this.#rotated = callback;
  }

  /** Lets others call this instance at `address`, or, when empty, no longer. */
  async advertise(address: string): Promise<void> {
    this.#advertised = address;
    await this.report();
  }

  /** Tells the agent now how things are. */
  async report(): Promise<void> {
    await this.#link.report();
  }

  /** What is missing before this sidecar can do its work. */
  missing(): readonly string[] {
    const { view, checker } = this.context;
    return [
      ...(view.follower.hasCaughtUp ? [] : ["the trust log"]),
      ...(this.#isNamed() ? [] : ["an SVID that the trust log names"]),
      ...(checker.freshness("newHandshake") === "stale" ? ["news from the trust log"] : []),
      ...(this.#audit.isFailing ? ["room for the audit log"] : []),
      ...(this.#clockNote() === "" ? [] : [`a clock that is right: this machine's, ${this.#clockNote()}`]),
    ];
  }

  /** Every connection whose peer the log no longer names ends now; an SVID of our own that it dropped is replaced. */
  stepped(): void {
    const { livePeers, log } = this.context;
    const closed = livePeers.closeUnnamed();
    if (closed > 0) log.warn("connections closed: the log no longer names their peers", { closed });
    if (!this.#isNamed()) this.#keeper?.renew();
    this.#link.reportSoon();
  }

  /** Tells the control plane what should not have happened. */
  alarm(reason: string, detail: string): void {
    this.#link.alarm(create(AlarmSchema, { reason, detail: `${this.context.service}: ${detail}` }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    clearInterval(this.#sweeping);
    this.context.refused.flush();
    this.router.close();
    await this.#link[Symbol.asyncDispose]();
    this.#timer[Symbol.dispose]();
    await this.#audit[Symbol.asyncDispose]();
  }

  #clockNote(): string {
    return clockNote(this.context.view.clockAheadSeconds);
  }

  #sweep(): void {
    const isClockWrong = this.#clockNote() !== "";
    if (isClockWrong && !this.#isClockWrong)
      this.context.log.error("this machine's clock is wrong", { clock: this.#clockNote() });
    this.#isClockWrong = isClockWrong;
    this.context.livePeers.expire(this.context.clock.nowSeconds());
    this.context.refused.flush();
    this.router.sweep();
  }

  /** Whether peers can find this instance's SVID in the trust log. */
  #isNamed(): boolean {
    const { certificates } = this.context.view.follower.state;
    return this.#keeper !== undefined && certificates.has(this.#keeper.current.sha256);
  }

  #svid(): SvidInUse {
    if (this.#keeper === undefined) throw new MeshError("ERR_DATA_PLANE_SVID", "no SVID yet");
    return this.#keeper.current;
  }

  #status(): FollowerStatus | undefined {
    if (this.#keeper === undefined) return undefined;
    const { service, instance, view, metrics } = this.context;
    return create(FollowerStatusSchema, {
      instance,
      service,
      size: BigInt(view.follower.size),
      address: this.#advertised,
      requestsForwarded: BigInt(metrics.totals.forwarded),
      requestsRefused: BigInt(metrics.totals.refused),
      outboundRequests: BigInt(metrics.totals.outbound),
      stalenessSeconds: view.stalenessSeconds,
      certificateNotAfterSeconds: BigInt(this.certificateNotAfterSeconds),
      adminAddress: this.adminAddress,
      outboundAddress: this.outboundAddress,
    });
  }
}
