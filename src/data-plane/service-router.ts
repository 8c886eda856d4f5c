import type { OnReadOpts, Socket } from "node:net";
import tls from "node:tls";
import { fail, ok, type Result } from "../base/result.ts";
import { serviceNameOfAuthority } from "../identity/index.ts";
import type { Endpoint } from "../protocol/index.ts";
import type { CheckedPeer, PeerRefusal } from "./check-peer.ts";
import {
  type AcquireRefusal,
  ConnectionPool,
  defaultPoolLimits,
  type Upstream,
  type UpstreamConnection,
  type Waiter,
} from "./http1/index.ts";
import { meshTlsClient } from "./mesh-tls.ts";
import type { ProxyContext } from "./proxy-context.ts";
import type { SvidInUse } from "./svid-keeper.ts";

/** How many instances are tried before a request is given up for want of a connection. */
const attemptsMax = 3;
/** How long an instance that could not be reached is left alone while others can be. */
const avoidMillis = 2_000;
/** How many endpoints are believed to exist; the list is hearsay. */
const endpointsMax = 10_000;

/** Why a request of the application goes nowhere. */
export type RouteRefusal = "not-a-mesh-name" | "unknown-service" | "no-instances" | "view-stale";

/** Where a request goes. */
export interface Route {
  readonly service: string;
  readonly upstream: Upstream;
}

/** An endpoint with what is going on there. */
export interface KnownEndpoint {
  readonly service: string;
  readonly instance: string;
  readonly address: string;
  /** Whether it could not be reached a moment ago, so that others are preferred. */
  readonly isAvoided: boolean;
  readonly openConnections: number;
  readonly idleConnections: number;
  readonly waitingRequests: number;
}

interface Instance {
  readonly endpoint: Endpoint;
  readonly pool: ConnectionPool;
  /** Whether an operator has said that nothing new shall go there. */
  isDraining: boolean;
  avoidUntilMillis: number;
}

/** Knows who serves what and keeps verified connections to them. */
export class ServiceRouter {
  readonly #context: ProxyContext;
  readonly #svid: () => SvidInUse;
  readonly #random: () => number;
  readonly #instances = new Map<string, Instance>();
  readonly #byService = new Map<string, Instance[]>();
  /** Pools of instances that have gone, while requests on them end. */
  readonly #leaving = new Set<ConnectionPool>();

  constructor(context: ProxyContext, svid: () => SvidInUse, random: () => number) {
    this.#context = context;
    this.#svid = svid;
    this.#random = random;
  }

  /** Takes the present list of endpoints. */
  setEndpoints(endpoints: readonly Endpoint[]): void {
    const present = new Set<string>();
    for (const endpoint of endpoints.slice(0, endpointsMax)) {
      const key = `${endpoint.instance} ${endpoint.address}`;
      present.add(key);
      if (this.#instances.has(key)) continue;
      const pool = new ConnectionPool(
        (onread, signal) => this.#connect(endpoint, { onread, signal }),
        defaultPoolLimits,
        this.#context.timer,
      );
      const isDraining = this.#drains(endpoint);
      this.#instances.set(key, { endpoint, pool, isDraining, avoidUntilMillis: 0 });
    }
    for (const [key, { pool }] of this.#instances) {
      if (present.has(key)) continue;
      // An instance that drains wants no more requests, but those it has may end.
      pool.drain();
      this.#leaving.add(pool);
      this.#instances.delete(key);
    }
    this.sweep();
    this.#arrange();
  }

  /** Takes note of who drains, after a step of the trust log. */
  stepped(): void {
    let hasChanged = false;
    for (const instance of this.#instances.values()) {
      const isDraining = this.#drains(instance.endpoint);
      if (isDraining === instance.isDraining) continue;
      instance.isDraining = isDraining;
      hasChanged = true;
      // What it has may end there; nothing new is begun.
      if (isDraining) instance.pool.drain();
    }
    if (hasChanged) this.#arrange();
  }

  /** Where a request with this Host goes: `payments.shop.mesh` names the service `/shop/payments`. */
  route(host: string): Result<Route, RouteRefusal> {
    const name = serviceNameOfAuthority(host.replace(/:[0-9]+$/, ""));
    if (name === undefined)
      return fail("not-a-mesh-name", `${host}; services are called as name.mesh, e.g. payments.shop.mesh`);
    const { checker, view } = this.#context;
    if (checker.freshness("openConnection") === "stale")
      return fail("view-stale", `no news from the trust log for ${Math.floor(view.stalenessSeconds)} s`);
    const instances = this.#byService.get(name);
    if (instances !== undefined && instances.length > 0)
      return ok({ service: name, upstream: new BalancedUpstream(this.#choiceOf(name)) });
    const isRegistered = view.follower.state.services.has(name);
    return isRegistered
      ? fail("no-instances", `${name} is registered but nothing serves it now`)
      : fail("unknown-service", name);
  }

  /** All endpoints that it has been told of. */
  endpoints(): KnownEndpoint[] {
    const now = this.#context.clock.monotonicMillis();
    return [...this.#instances.values()].map(({ endpoint, pool, avoidUntilMillis }) => ({
      service: endpoint.service,
      instance: endpoint.instance,
      address: endpoint.address,
      isAvoided: avoidUntilMillis > now,
      openConnections: pool.openCount,
      idleConnections: pool.idleCount,
      waitingRequests: pool.waitingCount,
    }));
  }

  /** Replaces connections, within `overMillis`, by new ones under the SVID in use from now on. */
  drain(overMillis: number): void {
    for (const { pool } of this.#instances.values()) pool.drain(overMillis);
  }

  /** Lets go of pools whose last request has ended. */
  sweep(): void {
    for (const pool of this.#leaving) {
      if (pool.openCount > 0 || pool.waitingCount > 0) continue;
      pool.close();
      this.#leaving.delete(pool);
    }
  }

  /** Breaks everything. */
  close(): void {
    for (const { pool } of this.#instances.values()) pool.close();
    for (const pool of this.#leaving) pool.close();
    this.#instances.clear();
    this.#leaving.clear();
    this.#byService.clear();
  }

  #arrange(): void {
    this.#byService.clear();
    for (const instance of this.#instances.values()) {
      if (instance.isDraining) continue;
      const { service } = instance.endpoint;
      this.#byService.set(service, [...(this.#byService.get(service) ?? []), instance]);
    }
  }

  #drains({ instance }: Endpoint): boolean {
    return this.#context.view.follower.state.instances.get(instance)?.isDraining === true;
  }

  #choiceOf(service: string): Choice {
    return {
      pick: (tried) => this.#pick(service, tried),
      hasOther: (than) => (this.#byService.get(service) ?? []).some((instance) => instance !== than),
      avoid: ({ endpoint }) => this.#avoid(endpoint),
    };
  }

  /**
   * The less loaded of two drawn at random (power of two choices), leaving out what was tried and what just failed; of
   * nothing but what just failed, the one for which that is longest ago.
   */
  #pick(service: string, tried: ReadonlySet<Instance>): Instance | undefined {
    const now = this.#context.clock.monotonicMillis();
    const all = (this.#byService.get(service) ?? []).filter((instance) => !tried.has(instance));
    const healthy = all.filter(({ avoidUntilMillis }) => avoidUntilMillis <= now);
    if (healthy.length === 0)
      return all.toSorted((left, right) => left.avoidUntilMillis - right.avoidUntilMillis)[0];
    const one = healthy[Math.floor(this.#random() * healthy.length)];
    const other = healthy[Math.floor(this.#random() * healthy.length)];
    if (one === undefined || other === undefined) return one;
    return loadOf(one) <= loadOf(other) ? one : other;
  }

  async #connect(
    endpoint: Endpoint,
    { onread, signal }: { readonly onread: OnReadOpts; readonly signal: AbortSignal },
  ): Promise<Result<Socket, string>> {
    const handshaken = await handshake(endpoint.address, { svid: this.#svid(), onread, signal });
    if (!handshaken.ok) {
      this.#avoid(endpoint);
      return handshaken;
    }
    const socket = handshaken.value;
    const checked = await this.#checkEndpoint(socket, endpoint);
    if (!checked.ok) {
      socket.destroy();
      this.#avoid(endpoint);
      const { reason, detail } = checked;
      this.#context.refused.note({ direction: "outbound", reason, detail, peer: endpoint.address });
      return checked;
    }
    const { livePeers, clock } = this.#context;
    const isLive = livePeers.add(socket, {
      peer: checked.value,
      nowSeconds: clock.nowSeconds(),
      expiring: (secondsLeft) =>
        this.#instances.get(`${endpoint.instance} ${endpoint.address}`)?.pool.drain((secondsLeft * 1000) / 2),
    });
    return isLive ? ok(socket) : fail("connect-failed", "the peer has gone");
  }

  /** Whether a peer is not only somebody but the very instance that was to be reached. */
  async #checkEndpoint(socket: tls.TLSSocket, endpoint: Endpoint): Promise<Result<CheckedPeer, PeerRefusal>> {
    const checked = await this.#context.checker.check(socket);
    if (!checked.ok) return checked;
    const { service, instance, svid } = checked.value;
    return service === endpoint.service && instance === endpoint.instance
      ? checked
      : fail("other-instance", `${svid.spiffeId} ${instance} instead of ${endpoint.service}`);
  }

  #avoid({ instance, address }: Endpoint): void {
    const found = this.#instances.get(`${instance} ${address}`);
    if (found !== undefined) found.avoidUntilMillis = this.#context.clock.monotonicMillis() + avoidMillis;
  }
}

/** The instances that a request can go to. */
interface Choice {
  readonly pick: (tried: ReadonlySet<Instance>) => Instance | undefined;
  /** Whether there is another one. */
  readonly hasOther: (than: Instance) => boolean;
  readonly avoid: (instance: Instance) => void;
}

/** Asks one instance after another until one has a connection. */
class BalancedUpstream implements Upstream {
  readonly protocol = "http/1.1";
  readonly #choice: Choice;
  readonly #tried = new Set<Instance>();
  #asked: { readonly instance: Instance; readonly inner: Waiter } | undefined;
  /** The one that had the request and did not answer it. */
  #failed: Instance | undefined;

  constructor(choice: Choice) {
    this.#choice = choice;
  }

  acquire(waiter: Waiter, again: boolean): UpstreamConnection | undefined {
    this.#tried.clear();
    if (again && this.#asked !== undefined) {
      // It comes last now, but it comes: only a connection may have died, and not what was at its other end.
      this.#failed = this.#asked.instance;
      this.#choice.avoid(this.#failed);
    }
    return this.#next(waiter, { reason: "upstream-connect-failed", detail: "no instance" });
  }

  hasElsewhere(): boolean {
    return this.#asked !== undefined && this.#choice.hasOther(this.#asked.instance);
  }

  cancel(): void {
    this.#asked?.instance.pool.cancel(this.#asked.inner);
    this.#asked = undefined;
  }

  #next(
    waiter: Waiter,
    last: { readonly reason: AcquireRefusal; readonly detail: string },
  ): UpstreamConnection | undefined {
    const instance = this.#tried.size < attemptsMax ? this.#choice.pick(this.#tried) : undefined;
    if (instance === undefined) {
      waiter.onNoConnection(last.reason, last.detail);
      return undefined;
    }
    this.#tried.add(instance);
    const inner: Waiter = {
      onConnection: (connection) => waiter.onConnection(connection),
      onNoConnection: (reason, detail) => {
        const connection = this.#next(waiter, { reason, detail });
        if (connection !== undefined) waiter.onConnection(connection);
      },
    };
    this.#asked = { instance, inner };
    // Elsewhere any connection will do: it was not there that one died.
    return instance.pool.acquire(inner, instance === this.#failed);
  }
}

function loadOf({ pool }: Instance): number {
  return pool.openCount - pool.idleCount + pool.waitingCount;
}

/** A TLS connection on which nothing has been said yet. */
function handshake(
  address: string,
  {
    svid,
    onread,
    signal,
  }: { readonly svid: SvidInUse; readonly onread: OnReadOpts; readonly signal: AbortSignal },
): Promise<Result<tls.TLSSocket, "connect-failed" | "handshake-failed">> {
  const [, host, port] = /^(.+):([0-9]{1,5})$/.exec(address) ?? [];
  if (host === undefined || port === undefined)
    return Promise.resolve(fail("connect-failed", `${address} is not host:port`));
  return new Promise((resolve) => {
    // Node passes `onread` on to the socket although its types do not say so.
    const options: tls.ConnectionOptions & { onread: OnReadOpts } = {
      ...meshTlsClient(svid),
      host,
      port: Number(port),
      onread,
    };
    const socket = tls.connect(options);
    socket.setNoDelay(true);
    const onAbort = (): void => {
      socket.destroy(new Error("given up"));
    };
    const settle = (result: Result<tls.TLSSocket, "connect-failed" | "handshake-failed">): void => {
      signal.removeEventListener("abort", onAbort);
      resolve(result);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    let isConnected = false;
    socket.once("connect", () => {
      isConnected = true;
    });
    socket.on("error", (error) =>
      settle(fail(isConnected ? "handshake-failed" : "connect-failed", error.message)),
    );
    socket.once("secureConnect", () => settle(ok(socket)));
  });
}
