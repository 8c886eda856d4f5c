import { fail, ok, type Result } from "../../base/result.ts";
import { serviceNameOfAuthority } from "../../identity/index.ts";
import type { Endpoint } from "../../protocol/index.ts";
import { Http2Exchange, type InstanceLink, type LinkChoice, type Upstream } from "../forwarding/index.ts";
import type { ProxyContext } from "../proxy-context.ts";
import type { SvidInUse } from "../svid-keeper.ts";
import { openInstanceLink } from "./open-instance-link.ts";

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
      const onUnreachable = (): void => this.#avoid(endpoint);
      const link = openInstanceLink({ context: this.#context, svid: this.#svid, endpoint, onUnreachable });
      this.#instances.set(key, { endpoint, link, isDraining, avoidUntilMillis: 0 });
    }
    for (const [key, { link }] of this.#instances) {
      if (present.has(key)) continue;
      // An instance that drains wants no more requests, but those it has may end.
      link.drain();
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

  #avoid({ instance, address }: Endpoint): void {
    const found = this.#instances.get(`${instance} ${address}`);
    if (found !== undefined) found.avoidUntilMillis = this.#context.clock.monotonicMillis() + avoidMillis;
  }
}
