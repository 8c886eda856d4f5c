import { create } from "@bufbuild/protobuf";
import { type AuditLog, openAuditLog } from "../audit/index.ts";
import { MeshError } from "../base/mesh-error.ts";
import { softwareVersion } from "../base/software-version.ts";
import {
  AlarmSchema,
  type EndpointList,
  type FollowerStatus,
  FollowerStatusSchema,
  mergeEndpoints,
} from "../protocol/index.ts";
import { openTracer, type ReadinessCheck, type Tracer } from "../telemetry/index.ts";
import { DueRenewals, LogView, resolvesWithin, type SvidInUse, SvidKeeper } from "../transport/index.ts";
import { entryRevision, isQuarantined, type NoteSigner } from "../trust-log/index.ts";
import { AgentLink } from "./agent-link.ts";
import { AppUsage } from "./app-usage.ts";
import { PeerChecker } from "./check-peer.ts";
import { clockNote } from "./clock-note.ts";
import { CoarseTimer } from "./coarse-timer.ts";
import { LivePeers } from "./live-peers.ts";
import { OwnAdvertisement } from "./own-advertisement.ts";
import { PeerViolations } from "./peer-violations.ts";
import type { ProxyContext } from "./proxy-context.ts";
import { proxyMetrics } from "./proxy-metrics.ts";
import type { ProxyOptions, ProxyRole } from "./proxy-options.ts";
import { RefusedConnections } from "./refused-connections.ts";
import { RequestTokenGate } from "./request-token-gate.ts";
import { RequestTokenKeys } from "./request-token-keys.ts";
import { type AppReport, calledInstances } from "./resource-report.ts";
import { ServiceRouter } from "./routing/index.ts";
import { ExhaustedTraces } from "./traffic/index.ts";

/** After a rotation, connections are replaced over this part of the new SVID's life, and over this long at most. */
const rotationShare = 0.1;
const rotationMillisMax = 10_000;
const catchUpMillisMax = 60_000;
/** How long a start waits to be told who serves where; until then nothing could be called. */
const routesMillisMax = 10_000;

/**
 * What a proxy of any role is besides its listeners: its view of the log and the link it comes through, its SVID, the
 * connections that depend on both, and what it reports of itself.
 */
export class SidecarCore implements AsyncDisposable {
  readonly context: ProxyContext;
  readonly router: ServiceRouter;
  /** Where the listeners on loopback are, once they are. */
  adminAddress = "";
  outboundAddress = "";
  /** What a sidecar measures of its application; other proxies have none. */
  app: AppReport | undefined;
  /** What it says that it serves. */
  readonly own: OwnAdvertisement;
  readonly #options: ProxyOptions;
  readonly #role: ProxyRole;
  readonly #link: AgentLink;
  readonly #audit: AuditLog;
  readonly #timer: CoarseTimer;
  readonly #closing = new AbortController();
  #endpoints: EndpointList | undefined;
  /** Resolves with the first list of endpoints. */
  readonly #routed = Promise.withResolvers<void>();
  /** Whoever waits for endpoints that are other than these. */
  readonly #waiting = new Set<() => void>();
  #keeper: SvidKeeper | undefined;
  #rotated: ((svid: SvidInUse) => void) | undefined;
  #drainingChanged: (() => void) | undefined;
  #hasStepped: (() => void) | undefined;
  #isDraining = false;
  #isQuarantined = false;
  #isRetiring = false;
  #advertised = "";
  #isClockWrong = false;
  /** Why this instance was revoked, which is for good. */
  #revocation: string | undefined;
  #renewals: DueRenewals | undefined;

  private constructor(
    options: ProxyOptions,
    role: ProxyRole,
    view: LogView,
    { audit, metrics, tracer }: Pick<ProxyContext, "audit" | "metrics" | "tracer">,
  ) {
    const { service, instance, clock, log, random, randomBytes } = options;
    this.#options = options;
    this.#role = role;
    this.#audit = audit;
    this.#timer = new CoarseTimer(clock).start();
    const checker = new PeerChecker({ view, clock, ownService: service, ownInstance: instance });
    const alarm = (reason: string, detail: string): void => this.alarm(reason, detail);
    const shared = {
      service,
      instance,
      prefixes: new Set<string>(options.prefixes),
      view,
      livePeers: new LivePeers((peer) => checker.stillHolds(peer)),
      audit,
      metrics,
      usage: new AppUsage(clock.monotonicMillis()),
      tracer,
      clock,
      randomBytes,
      log,
      alarm,
      dangerBelieveAdvertisements: options.dangerBelieveAdvertisements === true,
      timer: this.#timer,
      exhausted: new ExhaustedTraces(clock),
      checker,
      refused: new RefusedConnections({ audit, metrics, log, alarm }),
      violations: new PeerViolations({ metrics, log }),
      requestTokens: new RequestTokenKeys({
        ...options,
        view,
        timer: this.#timer,
        relay: (question) => this.#link.askRequestTokenIssuer(question),
        currentSvid: () => this.#keeper?.current,
        alarm,
      }),
    };
    this.own = new OwnAdvertisement(options, view);
    this.context = { ...shared, gate: new RequestTokenGate(shared, options.dangerSkippedTokenSteps) };
    this.router = new ServiceRouter(this.context, () => this.#svid(), random);
    const sweeping = {
      deadlineMillis: this.#timer.in(0),
      onDeadline: (): void => {
        sweeping.deadlineMillis = this.#timer.in(0);
        this.#sweep();
      },
    };
    this.#timer.add(sweeping);
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
  static async open(options: ProxyOptions, role: ProxyRole, auditSigner: NoteSigner): Promise<SidecarCore> {
    const { anchor, clock, service, instance } = options;
    const parts: { core?: SidecarCore } = {};
    const view = new LogView({
      anchor,
      clock,
      events: {
        stepped: () => parts.core?.stepped(),
        endpoints: (come) => parts.core?.takeRoutes(come),
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
    const tracer = await tracerOf(options);
    const gauges = {
      stalenessSeconds: () => view.stalenessSeconds,
      treeSize,
      certificateNotAfterSeconds: () => parts.core?.certificateNotAfterSeconds ?? 0,
      openPeers: () => parts.core?.context.livePeers.size ?? 0,
      ejectedInstances: () => parts.core?.router.ejectedCount ?? 0,
      appHealthy: () => (parts.core?.app?.health?.isHealthy === true ? 1 : 0),
      appInFlight: () => parts.core?.context.usage.inFlight ?? 0,
      spans: () => tracer?.counts ?? { exported: 0, dropped: 0 },
    };
    const metrics = proxyMetrics(gauges, clock);
    parts.core = new SidecarCore(options, role, view, { audit, metrics, tracer });
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

  /** Takes what has come of who serves where. */
  takeRoutes(come: EndpointList): void {
    this.#endpoints = mergeEndpoints(this.#endpoints, come);
    this.router.setEndpoints(this.#endpoints.endpoints);
    this.#routed.resolve();
    for (const look of this.#waiting) look();
  }

  /**
   * Waits, for so long at most, until the mesh lists this instance among those that serve, or does so no longer; says
   * whether that is so. It has heard when others have: all are told the same.
   */
  async untilListed(isListed: boolean, waitMillisMax: number): Promise<boolean> {
    const isSo = (): boolean =>
      isListed ===
      (this.#endpoints?.endpoints.some((one) => one.instance === this.context.instance) ?? false);
    if (isSo()) return true;
    const changed = Promise.withResolvers<void>();
    const look = (): void => {
      if (isSo()) changed.resolve();
    };
    this.#waiting.add(look);
    await resolvesWithin(changed.promise, waitMillisMax);
    this.#waiting.delete(look);
    return isSo();
  }

  /** Waits, for a while, until it is known who serves where: after a start of the control plane that takes a moment. */
  async haveRoutes(): Promise<void> {
    await resolvesWithin(this.#routed.promise, routesMillisMax);
  }

  /** Obtains the first SVID and keeps it renewed. */
  async obtainSvid(auditKey: string): Promise<SvidKeeper> {
    const { clock, random, log, service } = this.#options;
    this.#keeper = await SvidKeeper.open({
      request: (certificateRequest, generation) =>
        this.#link.issueSvid({ service, certificateRequest, auditKey, generation }),
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
    this.#renewals = new DueRenewals(this.#keeper, clock);
    await this.context.requestTokens.audienceKeys.obtain();
    return this.#keeper;
  }

  /** The revocation lists of the mesh's authorities (DER), unchecked; throws when none can be had now. */
  readRevocationLists(): Promise<readonly Uint8Array[]> {
    return this.#link.readRevocationLists();
  }

  /** Has the issuer enter what this instance has signed about a prefix; the log's size with it. */
  handOnPrefix(kind: string, body: Uint8Array): Promise<number> {
    return this.#link.handOnPrefix(kind, body);
  }

  /** When the SVID in use ends; 0 before the first. */
  get certificateNotAfterSeconds(): number {
    return this.#keeper?.current.notAfterSeconds ?? 0;
  }

  /** Calls back with every SVID after the first. */
  onRotation(callback: (svid: SvidInUse) => void): void {
    this.#rotated = callback;
  }

  /** Whether it has been decided that nothing new shall come here: it drains, or is in quarantine. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Calls back whenever {@link isDraining} changes. */
  onDraining(callback: () => void): void {
    this.#drainingChanged = callback;
  }

  /** From now on it only ends what it has; another process has taken its place, or its application ends. */
  retire(): void {
    this.#isRetiring = true;
  }

  /** Calls back after every step of the trust log, and again and again once the view is too old to be believed. */
  onStep(callback: () => void): void {
    this.#hasStepped = callback;
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

  /** What there must be before this sidecar can do its work. */
  checks(): readonly ReadinessCheck[] {
    const { view, checker } = this.context;
    const unless = (isSo: boolean, missing: string): string | undefined => (isSo ? undefined : missing);
    const age = (): string => `no new epoch for ${Math.floor(view.stalenessSeconds)} s`;
    return [
      {
        name: "trust-log",
        missing: () =>
          view.standstill ??
          unless(view.follower.hasCaughtUp, "nothing yet from the node agent; is it running?"),
      },
      {
        name: "identity",
        missing: () => unless(this.#isNamed(), this.#whyUnnamed()),
      },
      {
        name: "freshness",
        missing: () => unless(checker.freshness("newHandshake") !== "stale", age()),
      },
      {
        name: "draining",
        missing: () =>
          unless(!this.#isRetiring, "ends what it has; another has its place") ??
          unless(!this.#isQuarantined, "in quarantine, until a newer decision releases it") ??
          unless(!this.#isDraining, "draining, until an operator resumes it"),
      },
      { name: "audit-log", missing: () => unless(!this.#audit.isFailing, "no room to write to") },
      {
        name: "clock",
        missing: () => unless(this.#clockNote() === "", `this machine's clock, ${this.#clockNote()}`),
      },
    ];
  }

  /** The SVID in use; undefined before the first. */
  get svid(): SvidInUse | undefined {
    return this.#keeper?.current;
  }

  /** Every connection whose peer the log no longer bears ends now; an SVID of our own that it dropped is replaced. */
  stepped(): void {
    const { livePeers, log } = this.context;
    const closed = livePeers.closeDropped();
    if (closed > 0) log.warn("connections closed: the log no longer bears their peers", { closed });
    this.#judgeOwn();
    this.router.stepped();
    this.context.requestTokens.stepped();
    this.context.gate.stepped();
    this.#hasStepped?.();
    const { state } = this.context.view.follower;
    const isDraining = state.instances.get(this.context.instance)?.isDraining === true || this.#isQuarantined;
    if (isDraining !== this.#isDraining) {
      this.#isDraining = isDraining;
      log.info(this.#isQuarantined ? "in quarantine" : isDraining ? "draining" : "resumed");
      this.#drainingChanged?.();
    }
    this.#link.reportSoon();
  }

  /** Tells the control plane what should not have happened. */
  alarm(reason: string, detail: string): void {
    this.#link.alarm(create(AlarmSchema, { reason, detail: `${this.context.service}: ${detail}` }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    this.context.refused.flush();
    this.router.close();
    await this.#link[Symbol.asyncDispose]();
    this.context.requestTokens[Symbol.dispose]();
    this.#timer[Symbol.dispose]();
    await this.context.tracer?.[Symbol.asyncDispose]();
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
    this.context.violations.flush();
    this.router.sweep();
    this.context.usage.turn(this.context.clock.monotonicMillis());
    // As a step has open requests decided on again, so has the lack of any for too long.
    if (this.context.checker.freshness("openConnection") === "stale") this.#hasStepped?.();
  }

  /** Looks whether the log still has this very instance; connections that it made as one that is no more end now. */
  #judgeOwn(): void {
    const { livePeers, log, instance } = this.context;
    const { state } = this.context.view.follower;
    if (this.#keeper === undefined || this.#revocation !== undefined) return;
    if (!state.instances.has(instance) && livePeers.closeAll() > 0)
      log.warn("connections closed: the log no longer has this instance");
    this.#isQuarantined = isQuarantined(state, instance);
    // It keeps what certificate it has; a new one is for when it is released.
    if (this.#isQuarantined) {
      if (livePeers.closeAll() > 0) log.warn("connections closed: this instance is in quarantine");
      return;
    }
    const revocation = state.revocations.get(`instance:${instance}`);
    if (revocation !== undefined) {
      this.#revocation = revocation.reason;
      log.error("this instance was revoked, for good", { instance, reason: revocation.reason });
      this.#keeper[Symbol.dispose]();
      this.#options.revoked?.(revocation.reason);
    } else if (this.#renewals?.stepped(state) === "tainted")
      log.info("the authority of this SVID is tainted; it is replaced");
  }

  #whyUnnamed(): string {
    const { service, view } = this.context;
    const { holds } = view.follower.state;
    if (this.#revocation !== undefined) return `this instance was revoked: ${this.#revocation}`;
    const held = holds.get(`service:${service}`);
    return held === undefined
      ? "no SVID that the trust log names"
      : `${service} is held (${held.reason}) until an operator lifts it`;
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
    const { service, instance, view, metrics, clock, requestTokens } = this.context;
    const advertisement = this.own.at(this.#advertised, requestTokens.bootId, this.#keeper.current);
    return create(FollowerStatusSchema, {
      ...(advertisement === undefined ? {} : { advertisement }),
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
      softwareVersion,
      entryRevision,
      isRetiring: this.#isRetiring,
      stoppedReason: view.follower.stoppedReason ?? "",
      role: this.#role,
      tokenAudience: this.context.requestTokens.bootId,
      ...(this.app === undefined ? {} : { resources: this.app.take(clock.monotonicMillis()) }),
      called: calledInstances(this.router.counts()),
    });
  }
}

async function tracerOf(options: ProxyOptions): Promise<Tracer | undefined> {
  const { tracing, service, instance, anchor, clock, randomBytes, log } = options;
  if (tracing === undefined) return undefined;
  const resource = {
    "service.name": service.slice(1).replaceAll("/", "."),
    "service.namespace": anchor.trustDomain,
    "service.instance.id": instance,
  };
  return openTracer(tracing, { resource, clock, randomBytes, log });
}
