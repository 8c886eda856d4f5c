import { join } from "node:path";
import type { Clock, RandomBytes } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { MeshError } from "../base/mesh-error.ts";
import {
  type CertificateAuthority,
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
import { FollowerRegistry } from "./follower-registry.ts";
import { loadIssuingAuthority, loadRootAuthority } from "./found-domain.ts";
import { keyFault, requireLogKeys } from "./log-keys.ts";
import type { LogStorage } from "./log-storage.ts";
import { LogWriter } from "./log-writer.ts";
import { openHealthListener } from "./open-health-listener.ts";
import { openProposalFiles } from "./proposal-files.ts";
import { Proposals } from "./proposals.ts";
import { type PublishedLog, publishTiles } from "./publish-tiles.ts";
import { RevocationLists } from "./revocation-lists.ts";
import { RollbackGuard } from "./rollback-guard.ts";
import { Sessions } from "./sessions.ts";
import { HeldTokenKeys, type HeldTokenKeysOptions } from "./token-keys.ts";

/** What a control plane needs. */
export interface ControlPlaneOptions {
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
  readonly writer: LogWriter;
}

/** Opens the control plane of a trust domain that was founded before. */
export async function openControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { clock, randomBytes, log, keyStore } = options;
  const trustDomain = trustDomainOfOptions(options);
  const keys = await requireLogKeys(keyStore, trustDomain, options.generation);
  const authorities = await loadAuthorities(keyStore, trustDomain);
  const [authority] = authorities;

  await using opened = new AsyncDisposableStack();
  const metrics = controlPlaneMetrics(clock);
  const registry = new FollowerRegistry(clock, {
    converged: metrics.converged,
    raised: metrics.alarm,
  });
  const writer = opened.use(
    await LogWriter.open({
      epochGuard: new EpochGuard(clock, () => registry.clocksAheadSeconds()),
      withheld: (reason, detail) =>
        registry.raise("/clock", reason === "clock-unconfirmed" ? reason : "clock-disagrees", detail),
      storage: options.storage,
      keys,
      clock,
      log,
      isHeld: true,
      observer: metrics.observer,
      ...(options.broken === undefined ? {} : { broken: options.broken }),
    }),
  );
  const published = await readFileIfPresent(join(options.tilesFolder, "checkpoint"));
  const guard = opened.use(new RollbackGuard({ writer, logKey: keys.log, registry, log, published }));
  opened.use(publishTiles(options.tilesFolder, publishedOnce(guard, writer), log));
  const noteSize = (): void => registry.noteLogSize(writer.newest?.size ?? 0);
  noteSize();
  opened.defer(writer.onCheckpoint(noteSize));
  const sessions = new Sessions({ clock, randomBytes, state: () => writer.state });
  opened.defer(writer.onCheckpoint(() => sessions.endOver()));
  const tokenKeys = openTokenKeys(opened, { trustDomain, keyStore, writer, clock, log }, registry);
  const closing = new AbortController();
  const parts = {
    issuer: { writer, authority, svidLifetimeSeconds: options.svidLifetimeSeconds, clock, randomBytes },
    tokens: { writer, guard, keys: tokenKeys, clock, randomBytes },
    tokenKeys,
    registry,
    guard,
    source: sourceOf(writer, registry),
    proposals: await Proposals.open(await openProposalFiles(options.proposalsFolder), writer, log),
    sessions,
    revocationLists: new RevocationLists({ writer, clock, authorities: () => authorities }),
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
    writer,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** The CA that issues, and the root where its key is here. */
async function loadAuthorities(
  keyStore: KeyStore,
  trustDomain: TrustDomain,
): Promise<[CertificateAuthority, ...CertificateAuthority[]]> {
  const authority = await loadIssuingAuthority(keyStore, trustDomain);
  if (authority === undefined) throw keyFault("ca-intermediate", "or its certificate is missing");
  const root = await loadRootAuthority(keyStore, trustDomain);
  return root === undefined ? [authority] : [authority, root];
}

/** The trust domain; throws where the options are not those of a control plane. */
function trustDomainOfOptions(options: ControlPlaneOptions): TrustDomain {
  const trustDomain = parseTrustDomain(options.trustDomain);
  if (!trustDomain.ok)
    throw new MeshError(
      "ERR_CONTROL_PLANE_CONFIG",
      `trust domain ${options.trustDomain}: ${trustDomain.reason}`,
    );
  if (!(options.svidLifetimeSeconds >= 1 && options.svidLifetimeSeconds <= svidLifetimeSecondsMax))
    throw new MeshError("ERR_CONTROL_PLANE_CONFIG", `an SVID lives 1 to ${svidLifetimeSecondsMax} seconds`);
  if (options.storage.journal.size === 0)
    throw new MeshError("ERR_CONTROL_PLANE_NOT_FOUNDED", "this directory holds no trust domain");
  return trustDomain.value;
}

/** The keys for tokens, looked after at each checkpoint; there is one every few seconds. */
function openTokenKeys(
  opened: AsyncDisposableStack,
  options: HeldTokenKeysOptions,
  registry: FollowerRegistry,
): HeldTokenKeys {
  const notRenewed = (detail: string): void => registry.raise("/authority", "token-key-not-renewed", detail);
  const keys = new HeldTokenKeys({ ...options, notRenewed });
  opened.defer(options.writer.onCheckpoint(() => void keys.look()));
  return keys;
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
