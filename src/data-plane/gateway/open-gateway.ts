import { MeshError, messageOf } from "../../base/mesh-error.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { describeProxy } from "../describe-sidecar.ts";
import { openCore } from "../open-core.ts";
import type { ProxyOptions } from "../proxy-options.ts";
import type { SidecarCore } from "../sidecar-core.ts";
import type { EdgeContext } from "./edge-request.ts";
import { readCertificates, type UsableCertificate } from "./edge-tls.ts";
import { GatewayRoutes } from "./gateway-routes.ts";
import type { EdgeListenerSettings, GatewaySettings } from "./gateway-settings.ts";
import { type Edge, edgeLimits, openEdge } from "./open-edge.ts";
import { SourceLimits } from "./source-limits.ts";

/** What a gateway needs. */
export interface GatewayOptions extends ProxyOptions {
  readonly settings: GatewaySettings;
}

/** Why a gateway does not go by new settings; it goes by those it had. */
export type SettingsRefusal = "certificate-unusable" | "port-unusable";

/** A running gateway. */
export interface Gateway extends AsyncDisposable {
  /** host:port of each listener, in the order of the settings. */
  readonly addresses: readonly string[];
  readonly adminAddress: string;
  /** Goes by other settings, without breaking a connection: listeners that are gone end with their requests. */
  readonly use: (settings: GatewaySettings) => Promise<Result<void, SettingsRefusal>>;
  /** Stops taking work: every connection ends with the requests it carries. */
  readonly drain: () => Promise<void>;
}

/** Opens a proxy without an application: clients from outside come in, and go on as the gateway's own service. */
export async function openGateway(options: GatewayOptions): Promise<Gateway> {
  await using opened = new AsyncDisposableStack();
  const parts: { edges?: Edges } = {};
  const { core } = opened.use(
    await openCore(options, {
      role: "gateway",
      describe: (core) => describeGateway(core, options, parts.edges),
      checks: [
        { name: "listeners", missing: () => (parts.edges?.isOpen === true ? undefined : "not open yet") },
      ],
    }),
  );
  await core.haveRoutes();
  const edges = opened.use(new Edges(core, options));
  parts.edges = edges;
  const used = await edges.use(options.settings);
  if (!used.ok) throw new MeshError("ERR_DATA_PLANE_GATEWAY", used.detail);
  core.onDraining(() => {
    if (core.isDraining) edges.endConnections();
  });
  await core.report();

  const running = opened.move();
  return {
    get addresses() {
      return edges.addresses;
    },
    adminAddress: core.adminAddress,
    use: (settings) => edges.use(settings),
    drain: () => edges.drain(),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

interface OpenEdge {
  readonly edge: Edge;
  readonly settings: EdgeListenerSettings;
}

/** The listeners of a gateway, and the settings that they go by. */
class Edges implements AsyncDisposable {
  settings: GatewaySettings;
  readonly #shared: EdgeContext;
  readonly #sources: SourceLimits;
  #routes = new GatewayRoutes([]);
  #open = new Map<string, OpenEdge>();
  /** Listeners that are gone from the settings, while their last requests end. */
  readonly #leaving = new Set<Edge>();

  constructor({ context, router }: SidecarCore, { settings }: GatewayOptions) {
    this.settings = settings;
    this.#sources = new SourceLimits(settings.limits);
    this.#shared = { context, router, sources: this.#sources, routes: () => this.#routes };
  }

  get isOpen(): boolean {
    return this.#open.size > 0;
  }

  get addresses(): readonly string[] {
    return [...this.#open.values()].map(({ edge }) => edge.address);
  }

  /** Everything that may fail comes first, so that what is refused has changed nothing. */
  async use(settings: GatewaySettings): Promise<Result<void, SettingsRefusal>> {
    const certificates = new Map<EdgeListenerSettings, readonly UsableCertificate[]>();
    for (const listener of settings.listeners) {
      const read = readCertificates(listener.certificates);
      if (!read.ok) return read;
      certificates.set(listener, read.value);
    }
    await using begun = new AsyncDisposableStack();
    const next = new Map<string, OpenEdge>();
    for (const listener of settings.listeners) {
      const known = this.#open.get(keyOf(listener));
      if (known !== undefined) {
        next.set(keyOf(listener), { edge: known.edge, settings: listener });
        continue;
      }
      try {
        const parts = { settings: listener, certificates: certificates.get(listener) ?? [] };
        next.set(keyOf(listener), {
          edge: begun.use(await openEdge(this.#shared, parts)),
          settings: listener,
        });
      } catch (error) {
        return fail("port-unusable", `${messageOf(error)}; free it, or choose another address`);
      }
    }
    begun.move();
    this.#routes = new GatewayRoutes(settings.routes);
    this.#sources.use(settings.limits);
    for (const { edge, settings: listener } of next.values())
      edge.use(listener, certificates.get(listener) ?? []);
    for (const [key, { edge }] of this.#open) if (!next.has(key)) this.#leave(edge);
    this.#open = next;
    this.settings = settings;
    return ok(undefined);
  }

  endConnections(): void {
    for (const { edge } of this.#open.values()) edge.endConnections();
  }

  async drain(): Promise<void> {
    await Promise.all([...this.#open.values()].map(({ edge }) => edge.drain()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { edge } of this.#open.values()) await edge[Symbol.asyncDispose]();
    for (const edge of this.#leaving) await edge[Symbol.asyncDispose]();
  }

  #leave(edge: Edge): void {
    this.#leaving.add(edge);
    void edge.drain().then(async () => {
      await edge[Symbol.asyncDispose]();
      this.#leaving.delete(edge);
    });
  }
}

/** A port that begins or ceases to speak TLS is another one. */
function keyOf({ host, port, certificates }: EdgeListenerSettings): string {
  return `${host}:${port} ${certificates.length === 0 ? "plain" : "tls"}`;
}

/** What a gateway goes by now. No key is in it. */
function describeGateway(core: SidecarCore, options: GatewayOptions, edges: Edges | undefined): object {
  const { limits, routes, listeners } = edges?.settings ?? options.settings;
  return describeProxy(core, options, {
    kind: "GatewayConfig",
    listeners: { clients: edges?.addresses ?? [], admin: core.adminAddress },
    limits: { edge: { ...edgeLimits, ...limits } },
    own: {
      edges: listeners.map(({ host, port, certificates, redirectToHttpsPort }) => ({
        address: `${host}:${port}`,
        certificates: certificates.map(({ file }) => file),
        redirectToHttpsPort: redirectToHttpsPort ?? null,
      })),
      routes,
    },
  });
}
