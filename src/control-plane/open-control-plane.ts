import { join } from "node:path";
import type { Clock, RandomBytes } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { MeshError } from "../base/mesh-error.ts";
import {
  intermediateLifetimeSecondsDefault,
  parseTrustDomain,
  svidLifetimeSecondsMax,
  type TrustDomain,
} from "../identity/index.ts";
import { type KeyStore, readFileIfPresent } from "../storage/index.ts";
import { type LogSource, nextChange, openRpcServer, tlsIdentityOf } from "../transport/index.ts";
import { isMemberKey } from "./calls/callers.ts";
import { routesOf, sessionRoutesOf } from "./calls/routes.ts";
import { openConsoleListener } from "./console-listener.ts";
import { controlPlaneMetrics } from "./control-plane-metrics.ts";
import { EpochGuard } from "./epoch-guard.ts";
import { type FederationOptions, openFederation } from "./federation/open-federation.ts";
import { FollowerRegistry } from "./follower-registry.ts";
import { HeldAuthorities } from "./held-authorities.ts";
import { requireLogKeys } from "./log-keys.ts";
import type { LogStorage } from "./log-storage.ts";
import { LogWriter, type LogWriterOptions } from "./log-writer.ts";
import { openHealthListener } from "./open-health-listener.ts";
import { openProposalFiles } from "./proposal-files.ts";
import { Proposals } from "./proposals.ts";
import { type PublishedLog, publishTiles } from "./publish-tiles.ts";
import { RequestTokenIssuer } from "./request-token-issuer.ts";
import { RequestTokenRoots } from "./request-token-roots.ts";
import { RevocationLists } from "./revocation-lists.ts";
import { RollbackGuard } from "./rollback-guard.ts";
import { Sessions } from "./sessions.ts";
import { HeldTokenKeys } from "./token-keys.ts";

/** What a control plane needs. */
export interface ControlPlaneOptions extends FederationOptions {
  readonly trustDomain: string;
  readonly storage: LogStorage;
  readonly keyStore: KeyStore;
  /** Where the log is published as tiles. */
  readonly tilesFolder: string;
  /** Where entries wait for more signatures; locked with the log. */
  readonly proposalsFolder: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** Port of 127.0.0.1 on which web browsers of this machine are served; any free one unless given. */
  readonly consolePort?: number;
  /** Where health and metrics are shown; any port of 127.0.0.1 unless given. */
  readonly health?: { readonly host: string; readonly port: number };
  readonly svidLifetimeSeconds: number;
  /** Of the intermediates that are made from now on; 90 days unless given. */
  readonly intermediateLifetimeSeconds?: number;
  /** Of the log: 1 unless it was taken up again. */
  readonly generation?: number;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  readonly log: Log;
  /** Called when the trust log can be written no more; only another start can mend that. */
  readonly broken?: (error: unknown) => void;
}

/** A running control plane. */
export interface ControlPlane extends AsyncDisposable {
  /** host:port of its one listener, for agents and operators. */
  readonly address: string;
  /** host:port of the listener for web browsers of this machine. */
  readonly consoleAddress: string;
  /** host:port of health and metrics, on loopback. */
  readonly healthAddress: string;
  /** host:port of the bundle endpoint; empty where there is none. */
  readonly bundleEndpointAddress: string;
  readonly writer: LogWriter;
}

/** Opens the control plane of a trust domain that was founded before. */
export async function openControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { clock, randomBytes, log, keyStore } = options;
  const trustDomain = trustDomainIn(options);
  const keys = await requireLogKeys(keyStore, trustDomain, options.generation);

  await using opened = new AsyncDisposableStack();
  const metrics = controlPlaneMetrics(clock);
  const registry = new FollowerRegistry(clock, {
    converged: metrics.converged,
    raised: metrics.alarm,
  });
  const writer = opened.use(await openWriter(options, { keys, registry, observer: metrics.observer }));
  const { authorities, tokenKeys } = await openSigners(options, { trustDomain, writer, registry });
  opened.defer(authorities.keepRenewed());
  opened.defer(writer.onCheckpoint(() => void tokenKeys.look()));
  const published = await readFileIfPresent(join(options.tilesFolder, "checkpoint"));
  const guard = opened.use(new RollbackGuard({ writer, logKey: keys.log, registry, log, published }));
  opened.use(publishTiles(options.tilesFolder, publishedOnce(guard, writer), log));
  const noteSize = (): void => registry.noteLogSize(writer.newest?.size ?? 0);
  noteSize();
  opened.defer(writer.onCheckpoint(noteSize));
  const sessions = new Sessions({ clock, randomBytes, state: () => writer.state });
  opened.defer(writer.onCheckpoint(() => sessions.endOver()));
  const issuer = { ...options, writer, authorities, registry };
  const federation = opened.use(
    await openFederation({ ...options, trustDomain, issuer, authorities, registry }),
  );
  const closing = new AbortController();
  const parts = {
    issuer,
    authorities,
    tokens: { writer, guard, keys: tokenKeys, clock, randomBytes },
    tokenKeys,
    requestTokens: new RequestTokenIssuer({
      writer,
      guard,
      roots: new RequestTokenRoots(options),
      issuerKey: () => keys.issuer.privateKey,
      answered: metrics.questionAnswered,
      clock,
      randomBytes,
    }),
    registry,
    federation,
    guard,
    source: sourceOf(writer, registry),
    proposals: await Proposals.open(await openProposalFiles(options.proposalsFolder), writer, log),
    sessions,
    revocationLists: new RevocationLists({ writer, clock, authorities: () => authorities.opened }),
    clock,
    closing: closing.signal,
  };
  const identity = tlsIdentityOf(keys.server.privateKey, randomBytes);
  const server = opened.use(
    await openRpcServer(
      { kind: "tls", ...options.listen, identity, isKnown: (key) => isMemberKey(writer.state, key) },
      routesOf(parts),
    ),
  );
  const console = opened.use(
    await openConsoleListener(parts, sessionRoutesOf(parts), options.consolePort ?? 0),
  );
  opened.defer(() => closing.abort());
  const health = opened.use(
    await openHealthListener({ listen: options.health, metrics, writer, registry, log }),
  );
  const running = opened.move();
  return {
    address: server.address,
    consoleAddress: console.address,
    healthAddress: health.address,
    bundleEndpointAddress: federation.endpointAddress,
    writer,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Opens the one writer of the log; it orders nothing before the followers have been heard. */
function openWriter(
  { storage, clock, log, broken }: ControlPlaneOptions,
  {
    keys,
    registry,
    observer,
  }: Pick<LogWriterOptions, "keys"> & {
    readonly registry: FollowerRegistry;
    readonly observer: NonNullable<LogWriterOptions["observer"]>;
  },
): Promise<LogWriter> {
  return LogWriter.open({
    epochGuard: new EpochGuard(clock, () => registry.clocksAheadSeconds()),
    withheld: (reason, detail) =>
      registry.raise("/clock", reason === "clock-unconfirmed" ? reason : "clock-disagrees", detail),
    storage,
    keys,
    clock,
    log,
    isHeld: true,
    observer,
    ...(broken === undefined ? {} : { broken }),
  });
}

/** What signs here: certificates, and tokens. */
async function openSigners(
  options: ControlPlaneOptions,
  of: { readonly trustDomain: TrustDomain; readonly writer: LogWriter; readonly registry: FollowerRegistry },
): Promise<{ readonly authorities: HeldAuthorities; readonly tokenKeys: HeldTokenKeys }> {
  const { keyStore, clock, randomBytes, log } = options;
  const { trustDomain, writer, registry } = of;
  const common = { trustDomain, keyStore, writer, clock, log };
  const opening = HeldAuthorities.open({
    ...common,
    intermediateLifetimeSeconds: options.intermediateLifetimeSeconds ?? intermediateLifetimeSecondsDefault,
    randomBytes,
    notRenewed: (detail) => registry.raise("/authority", "authority-not-renewed", detail),
  });
  const authorities = await opening.catch((error: unknown) => {
    // The writer is held still, and would wait for its beginning before it closes.
    writer.halt("the control plane does not start");
    throw error;
  });
  const tokenKeys = new HeldTokenKeys({
    ...common,
    notRenewed: (detail) => registry.raise("/authority", "token-key-not-renewed", detail),
  });
  return { authorities, tokenKeys };
}

/** The trust domain of options that can be met. */
function trustDomainIn({ trustDomain, svidLifetimeSeconds, storage }: ControlPlaneOptions): TrustDomain {
  const parsed = parseTrustDomain(trustDomain);
  if (!parsed.ok)
    throw new MeshError("ERR_CONTROL_PLANE_CONFIG", `trust domain ${trustDomain}: ${parsed.reason}`);
  if (!(svidLifetimeSeconds >= 1 && svidLifetimeSeconds <= svidLifetimeSecondsMax))
    throw new MeshError("ERR_CONTROL_PLANE_CONFIG", `an SVID lives 1 to ${svidLifetimeSecondsMax} seconds`);
  if (storage.journal.size === 0)
    throw new MeshError("ERR_CONTROL_PLANE_NOT_FOUNDED", "this directory holds no trust domain");
  return parsed.value;
}

/** The log as it may be published; what is out already must not go back. */
function publishedOnce(guard: RollbackGuard, writer: LogWriter): PublishedLog {
  return {
    get newest() {
      return guard.isTrusted ? writer.newest : undefined;
    },
    get tree() {
      return writer.tree;
    },
    read: (from, to) => writer.read(from, to),
  };
}

function sourceOf(writer: LogWriter, registry: FollowerRegistry): LogSource {
  return {
    get newest() {
      return writer.newest;
    },
    get recoveredSizes() {
      return writer.state.genesis?.recoveredSizes ?? [];
    },
    get endpoints() {
      return registry.endpoints(writer.state);
    },
    read: (from, to) => writer.read(from, to),
    snapshot: () => Promise.resolve(writer.snapshot()),
    changed: (signal) =>
      nextChange(
        [(callback) => writer.onCheckpoint(callback), (callback) => registry.onEndpoints(callback)],
        signal,
      ),
  };
}
