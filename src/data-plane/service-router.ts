import type { OnReadOpts } from "node:net";
import tls from "node:tls";
import { messageOf } from "../base/mesh-error.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { serviceNameOfAuthority } from "../identity/index.ts";
import type { Endpoint } from "../protocol/index.ts";
import type { CheckedPeer, PeerRefusal } from "./check-peer.ts";
import {
  ConnectionPool,
  defaultLinkLimits,
  defaultPoolLimits,
  Http2Exchange,
  InstanceLink,
  type LinkChoice,
  type Upstream,
} from "./forwarding/index.ts";
import { type MeshProtocol, meshTlsClient } from "./mesh-tls.ts";
import type { ProxyContext } from "./proxy-context.ts";
import type { SvidInUse } from "./svid-keeper.ts";

/** How long an instance that could not be reached is left alone while others can be. */
const avoidMillis = 2_000;
/** Spellings of service names that are remembered. */
const namesMax = 1_000;
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
  readonly link: InstanceLink;
  /** Whether an operator has said that nothing new shall go there. */
  isDraining: boolean;
  avoidUntilMillis: number;
}

interface ServiceInstances {
  readonly instances: Instance[];
  readonly route: Route;
}

/** How a connection is opened. */
interface Dial {
  readonly signal: AbortSignal;
  /** All that proxies speak, unless given. */
  readonly offered?: readonly MeshProtocol[];
  readonly onread?: OnReadOpts;
}

/** Knows who serves what and keeps verified connections to them. */
export class ServiceRouter {
  readonly #context: ProxyContext;
  readonly #svid: () => SvidInUse;
  readonly #random: () => number;
  /** Service names by the `Host` that was understood as them. */
  readonly #names = new Map<string, string>();
  readonly #instances = new Map<string, Instance>();
  readonly #byService = new Map<string, ServiceInstances>();
  /** Links to instances that have gone, while requests on them end. */
  readonly #leaving = new Set<InstanceLink>();

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
      const isDraining = this.#drains(endpoint);
      const link = this.#openLink(endpoint);
      this.#instances.set(key, { endpoint, link, isDraining, avoidUntilMillis: 0 });
    }
    for (const [key, { link }] of this.#instances) {
      if (present.has(key)) continue;
      // An instance that is offered no more wants no more requests. Those it has are its own to end: it may be back.
      link.drain(true);
      this.#leaving.add(link);
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
      if (isDraining) instance.link.drain();
      else instance.link.resume();
    }
    if (hasChanged) this.#arrange();
  }

  /** Where a request with this Host goes: `payments.shop.mesh` names the service `/shop/payments`. */
  route(host: string): Result<Route, RouteRefusal> {
    const name = this.#nameOf(host);
    if (name === undefined)
      return fail("not-a-mesh-name", `${host}; services are called as name.mesh, e.g. payments.shop.mesh`);
    const { checker, view } = this.#context;
    if (checker.freshness("openConnection") === "stale")
      return fail("view-stale", `no news from the trust log for ${Math.floor(view.stalenessSeconds)} s`);
    const route = this.#byService.get(name)?.route;
    if (route !== undefined) return ok(route);
    const isRegistered = view.follower.state.services.has(name);
    return isRegistered
      ? fail("no-instances", `${name} is registered but nothing serves it now`)
      : fail("unknown-service", name);
  }

  /** All endpoints that it has been told of. */
  endpoints(): KnownEndpoint[] {
    const now = this.#context.clock.monotonicMillis();
    return [...this.#instances.values()].map(({ endpoint, link, avoidUntilMillis }) => ({
      service: endpoint.service,
      instance: endpoint.instance,
      address: endpoint.address,
      isAvoided: avoidUntilMillis > now,
      openConnections: link.openCount,
      idleConnections: link.idleCount,
      waitingRequests: link.waitingCount,
    }));
  }

  /** Replaces connections, within `overMillis`, by new ones under the SVID in use from now on. */
  drain(overMillis: number): void {
    let place = 0;
    for (const { link } of this.#instances.values()) {
      // Handshakes with all at once would hold up every request.
      link.renew((overMillis * place) / this.#instances.size);
      place += 1;
    }
  }

  /** Lets go of links whose last request has ended. */
  sweep(): void {
    for (const link of this.#leaving) {
      if (link.openCount > 0 || link.waitingCount > 0) continue;
      link.close();
      this.#leaving.delete(link);
    }
  }

  /** Breaks everything. */
  close(): void {
    for (const { link } of this.#instances.values()) link.close();
    for (const link of this.#leaving) link.close();
    this.#instances.clear();
    this.#leaving.clear();
    this.#byService.clear();
  }

  #nameOf(host: string): string | undefined {
    const known = this.#names.get(host);
    if (known !== undefined) return known;
    const name = serviceNameOfAuthority(host.replace(/:[0-9]+$/, ""));
    if (this.#names.size >= namesMax) this.#names.clear();
    if (name !== undefined) this.#names.set(host, name);
    return name;
  }

  #arrange(): void {
    this.#byService.clear();
    for (const instance of this.#instances.values()) {
      if (instance.isDraining) continue;
      const { service } = instance.endpoint;
      const known = this.#byService.get(service);
      if (known === undefined) this.#byService.set(service, this.#serviceOf(service, instance));
      else known.instances.push(instance);
    }
  }

  #serviceOf(service: string, first: Instance): ServiceInstances {
    const instances = [first];
    const choice: LinkChoice = {
      pick: (tried) => this.#pick(service, tried)?.link,
      hasOther: (than) => instances.some(({ link }) => link !== than),
      avoid: (link) => {
        const instance = instances.find((one) => one.link === link);
        if (instance !== undefined) this.#avoid(instance.endpoint);
      },
    };
    const upstream: Upstream = {
      begin: (request) => new Http2Exchange(request, choice),
    };
    return { instances, route: { service, upstream } };
  }

  #drains({ instance }: Endpoint): boolean {
    return this.#context.view.follower.state.instances.get(instance)?.isDraining === true;
  }

  /**
   * The less loaded of two drawn at random (power of two choices), leaving out what was tried and what just failed; of
   * nothing but what just failed, the one for which that is longest ago.
   */
  #pick(service: string, tried: readonly InstanceLink[]): Instance | undefined {
    const instances = this.#byService.get(service)?.instances ?? [];
    if (instances.length === 1 && tried.length === 0) return instances[0];
    const now = this.#context.clock.monotonicMillis();
    const all = instances.filter(({ link }) => !tried.includes(link));
    const healthy = all.filter(({ avoidUntilMillis }) => avoidUntilMillis <= now);
    if (healthy.length === 0)
      return all.toSorted((left, right) => left.avoidUntilMillis - right.avoidUntilMillis)[0];
    const one = healthy[Math.floor(this.#random() * healthy.length)];
    const other = healthy[Math.floor(this.#random() * healthy.length)];
    if (one === undefined || other === undefined) return one;
    return one.link.load <= other.link.load ? one : other;
  }

  /** Connections to an instance: of HTTP/2, or, where it chooses so, of HTTP/1.1. */
  #openLink(endpoint: Endpoint): InstanceLink {
    const { timer, log, violations } = this.#context;
    const onlyHttp1 = ["http/1.1"] as const;
    const pool = new ConnectionPool(
      (onread, signal) => this.#connect(endpoint, { onread, signal, offered: onlyHttp1 }),
      defaultPoolLimits,
      timer,
    );
    const peer = `${endpoint.service} ${endpoint.instance}`;
    return new InstanceLink({
      open: async (signal) => {
        const connected = await this.#connect(endpoint, { signal });
        if (!connected.ok) return connected;
        const socket = connected.value;
        return ok({ socket, isHttp2: socket.alpnProtocol === "h2" });
      },
      pool,
      timer,
      limits: defaultLinkLimits,
      observer: {
        onOpened: () => violations.of("outbound", peer),
        onFault: (fault) => log.error("fault while forwarding", { error: messageOf(fault) }),
      },
    });
  }

  async #connect(endpoint: Endpoint, how: Dial): Promise<Result<tls.TLSSocket, string>> {
    const handshaken = await handshake(endpoint.address, this.#svid(), how);
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
        this.#instances.get(`${endpoint.instance} ${endpoint.address}`)?.link.renew((secondsLeft * 1000) / 4),
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

/** A TLS connection on which nothing has been said yet. */
function handshake(
  address: string,
  svid: SvidInUse,
  { signal, offered, onread }: Dial,
): Promise<Result<tls.TLSSocket, "connect-failed" | "handshake-failed">> {
  const [, host, port] = /^(.+):([0-9]{1,5})$/.exec(address) ?? [];
  if (host === undefined || port === undefined)
    return Promise.resolve(fail("connect-failed", `${address} is not host:port`));
  return new Promise((resolve) => {
    // Node passes `onread` on to the socket although its types do not say so.
    const options: tls.ConnectionOptions & { onread?: OnReadOpts } = {
      ...meshTlsClient(svid, offered),
      host,
      port: Number(port),
      ...(onread === undefined ? {} : { onread }),
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
