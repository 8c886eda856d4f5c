import type { Clock, RandomBytes } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { MeshError } from "../base/mesh-error.ts";
import { parseTrustDomain, svidLifetimeSecondsMax } from "../identity/index.ts";
import type { KeyStore } from "../storage/index.ts";
import { type LogSource, openRpcServer, tlsIdentityOf } from "../transport/index.ts";
import { isMemberKey } from "./calls/callers.ts";
import { routesOf } from "./calls/routes.ts";
import { EpochGuard } from "./epoch-guard.ts";
import { FollowerRegistry } from "./follower-registry.ts";
import { loadIssuingAuthority } from "./found-domain.ts";
import { keyFault, requireLogKeys } from "./log-keys.ts";
import { type LogStorage, LogWriter } from "./log-writer.ts";
import { publishTiles } from "./publish-tiles.ts";

/** What a control plane needs. */
export interface ControlPlaneOptions {
  readonly trustDomain: string;
  readonly storage: LogStorage;
  readonly keyStore: KeyStore;
  /** Where the log is published as tiles. */
  readonly tilesFolder: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly svidLifetimeSeconds: number;
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
  readonly writer: LogWriter;
}

/** Opens the control plane of a trust domain that was founded before. */
export async function openControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { clock, randomBytes, log, keyStore } = options;
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
  const keys = await requireLogKeys(keyStore, trustDomain.value);
  const authority = await loadIssuingAuthority(keyStore, trustDomain.value);
  if (authority === undefined) throw keyFault("ca-intermediate", "or its certificate is missing");

  await using opened = new AsyncDisposableStack();
  const registry = new FollowerRegistry(clock);
  const writer = opened.use(
    await LogWriter.open({
      epochGuard: new EpochGuard(clock, () => registry.clocksAheadSeconds()),
      withheld: (reason, detail) =>
        registry.raise("", reason === "clock-unconfirmed" ? reason : "clock-disagrees", detail),
      storage: options.storage,
      keys,
      clock,
      log,
      ...(options.broken === undefined ? {} : { broken: options.broken }),
    }),
  );
  opened.use(publishTiles(options.tilesFolder, writer, log));
  const closing = new AbortController();
  const parts = {
    issuer: { writer, authority, svidLifetimeSeconds: options.svidLifetimeSeconds, clock, randomBytes },
    registry,
    source: sourceOf(writer, registry),
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
  opened.defer(() => closing.abort());
  const running = opened.move();
  return { address: server.address, writer, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

function sourceOf(writer: LogWriter, registry: FollowerRegistry): LogSource {
  return {
    get newest() {
      return writer.newest;
    },
    get endpoints() {
      return registry.endpoints(writer.state);
    },
    read: (from, to) => writer.read(from, to),
    snapshot: () => Promise.resolve(writer.snapshot()),
    changed: (signal) =>
      new Promise((resolve) => {
        const finish = (): void => {
          stopLog();
          stopEndpoints();
          signal.removeEventListener("abort", finish);
          resolve();
        };
        const stopLog = writer.onCheckpoint(finish);
        const stopEndpoints = registry.onEndpoints(finish);
        signal.addEventListener("abort", finish);
        if (signal.aborted) finish();
      }),
  };
}
