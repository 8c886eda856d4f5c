import { fail, ok, type Result } from "../../base/result.ts";
import type { Endpoint } from "../../protocol/index.ts";
import type { SvidInUse } from "../../transport/index.ts";
import { isQuarantined, type TrafficRow, type TrustState } from "../../trust-log/index.ts";
import { Http2Exchange, type InstanceLink, type Upstream } from "../forwarding/index.ts";
import type { ProxyContext } from "../proxy-context.ts";
import { TrafficPolicies } from "../traffic/index.ts";
import { Balancer, Member } from "./balancer.ts";
import { fairShare } from "./fair-share.ts";
import { factsOf, type InstanceFacts, zoneOf } from "./instance-facts.ts";
import { type KnownEndpoint, standingOf } from "./known-endpoint.ts";
import { MeshNames, remoteEndpoints } from "./mesh-names.ts";
import { openInstanceLink } from "./open-instance-link.ts";
import { type PrefixInstance, PrefixRoutes } from "./prefix-routes.ts";
import { type Passage, routerLinkLimits, ZoneRouters } from "./zone-routers.ts";

/** How many endpoints are believed to exist, of all nodes; the list is hearsay, and one node can fill it. */
const endpointsMax = 10_000;
/** Over how long connections are replaced that lie on one which ends; handshakes with all at once would hold up every request. */
const moveMillisMax = 1_000;

/** Why a request goes nowhere; the first three of a client from outside (gateway/). */
export type RouteRefusal =
  | "host-not-served"
  | "no-route"
  | "too-many-requests"
  | "not-a-mesh-name"
  | "unknown-service"
  | "no-instances"
  | "quarantined"
  | "view-stale";

/** Where a request goes. */
export interface Route {
  /** Whose instances are asked. */
  readonly service: string;
  /** What is asked for, as rules name it: the service itself, or a prefix that it holds. */
  readonly destination: string;
  readonly upstream: Upstream;
}

/** An endpoint at an address that was asked for. */
export interface Located {
  readonly endpoint: Endpoint;
  readonly isRouter: boolean;
}

interface Instance {
  readonly endpoint: Endpoint;
  readonly link: InstanceLink;
  readonly member: Member<InstanceLink>;
  facts: InstanceFacts;
  /** The router that the newest connection goes through. */
  via: InstanceLink | undefined;
}

interface ServiceInstances {
  readonly balancer: Balancer<InstanceLink>;
  readonly route: Route;
  policy: TrafficRow | undefined;
}

/** Knows who serves what and keeps verified connections to them. */
export class ServiceRouter {
  readonly #context: ProxyContext;
  readonly #svid: () => SvidInUse;
  readonly #random: () => number;
  readonly #traffic: TrafficPolicies;
  readonly #routers: ZoneRouters;
  readonly #names = new MeshNames();
  readonly #instances = new Map<string, Instance>();
  readonly #byService = new Map<string, ServiceInstances>();
  /** Links to instances that have gone, while requests on them end. */
  readonly #leaving = new Set<InstanceLink>();
  /** Those that have an instance of their own in the log, by that. */
  readonly #byInstance = new Map<string, Instance>();
  readonly #prefixes: PrefixRoutes;
  /** What the agent said last of who serves where. */
  #endpoints: readonly Endpoint[] = [];
  /** Where this proxy's own node is. */
  #zone = "";
  /** Whether this very instance is in quarantine, and so calls nobody. */
  #isCutOff = false;

  constructor(context: ProxyContext, svid: () => SvidInUse, random: () => number) {
    this.#context = context;
    this.#svid = svid;
    this.#random = random;
    this.#routers = new ZoneRouters(context, random);
    const upstreamOf = (service: string): Upstream | undefined =>
      this.#byService.get(service)?.route.upstream;
    const { clock, log, metrics, exhausted, view } = context;
    const rows = (): TrustState["traffic"] => view.follower.state.traffic;
    const counts = metrics.traffic;
    this.#prefixes = new PrefixRoutes(context, {
      instanceOf: (instance) => this.#prefixInstanceOf(instance),
      openBalancer: (holder) => this.#openBalancer(holder),
      hasZone: () => this.#zone !== "",
    });
    this.#traffic = new TrafficPolicies({ rows, clock, log, counts, exhausted, upstreamOf, random });
  }

  /** Takes the present list of endpoints. */
  setEndpoints(endpoints: readonly Endpoint[]): void {
    // Of other trust domains the log alone says where they are.
    const own = endpoints.filter(({ service }) => service.startsWith("/"));
    const { instances } = this.#state;
    const nodeOf = ({ instance }: Endpoint): string => instances.get(instance)?.node ?? "";
    this.#endpoints = fairShare(own, endpointsMax, nodeOf);
    const present = new Set<string>();
    for (const endpoint of [...this.#endpoints, ...remoteEndpoints(this.#state)]) {
      const key = `${endpoint.instance} ${endpoint.address}`;
      present.add(key);
      if (this.#instances.has(key)) continue;
      const opened = this.#openInstance(endpoint);
      this.#instances.set(key, opened);
      if (endpoint.service.startsWith("/")) this.#byInstance.set(endpoint.instance, opened);
    }
    for (const [key, instance] of this.#instances) {
      if (present.has(key)) continue;
      const { link, endpoint } = instance;
      // An instance that is offered no more wants no more requests. Those it has are its own to end: it may be back.
      link.drain(true);
      this.#leaving.add(link);
      this.#instances.delete(key);
      if (this.#byInstance.get(endpoint.instance) === instance) this.#byInstance.delete(endpoint.instance);
    }
    this.#letGo();
    this.#prefixes.take(this.#endpoints);
    this.#arrange();
  }

  /** Takes note of who drains, who is where, and what callers are held to, after a step of the trust log. */
  stepped(): void {
    if (this.#names.takeRemotes(this.#state)) this.setEndpoints(this.#endpoints);
    this.#isCutOff = isQuarantined(this.#state, this.#context.instance);
    const zone = zoneOf(this.#state, this.#context.instance);
    let hasChanged = zone !== this.#zone;
    this.#zone = zone;
    for (const instance of this.#instances.values()) {
      if (this.#steppedInstance(instance)) hasChanged = true;
    }
    this.#prefixes.stepped();
    if (hasChanged) this.#arrange();
    for (const [service, known] of this.#byService) this.#takePolicy(service, known);
  }

  /**
   * Where a request with this Host goes: `payments.shop.mesh` names the service `/shop/payments`, or the longest prefix
   * granted to one that covers this name, and `payments.shop.other.example` that of the trust domain other.example,
   * where an operator has said where it is.
   */
  route(host: string): Result<Route, RouteRefusal> {
    const name = this.#names.of(host);
    if (name === undefined)
      return fail(
        "not-a-mesh-name",
        `${host}; services are called as name.mesh, e.g. payments.shop.mesh, and those of a federated trust domain that an operator has made known (troth federation remote) as name.trust-domain`,
      );
    const route = this.routeTo(name);
    if (route.ok || route.reason !== "unknown-service") return route;
    const found = this.#prefixes.routeTo(name);
    return found.ok ? ok(this.#policed(found.value)) : found;
  }

  /** Where a request to a service goes. */
  routeTo(name: string): Result<Route, RouteRefusal> {
    const { checker, view } = this.#context;
    if (checker.freshness("openConnection") === "stale")
      return fail("view-stale", `no news from the trust log for ${Math.floor(view.stalenessSeconds)} s`);
    if (this.#isCutOff)
      return fail(
        "quarantined",
        `this instance of ${this.#context.service} is in quarantine and calls nobody`,
      );
    const route = this.#byService.get(name)?.route;
    if (route !== undefined) return ok(this.#policed(route));
    const { services, remotes } = this.#state;
    if (services.has(name) || remotes.has(name))
      return fail("no-instances", `${name} is registered but nothing serves it now`);
    return fail("unknown-service", name);
  }

  /** All endpoints that it has been told of. */
  endpoints(): KnownEndpoint[] {
    const now = this.#context.clock.monotonicMillis();
    return [...this.#instances.values()].map(({ endpoint, link, member, facts, via }) => ({
      service: endpoint.service,
      instance: endpoint.instance,
      address: endpoint.address,
      zone: facts.zone,
      via: this.#nameOfLink(via),
      isRouter: facts.isRouter,
      isAvoided: member.avoidUntilMillis > now,
      isDegraded: member.isDegraded,
      ...standingOf(member, now),
      inFlight: link.load,
      openConnections: link.openCount,
      idleConnections: link.idleCount,
      waitingRequests: link.waitingCount,
      ...this.#prefixes.saidBy(endpoint.instance),
    }));
  }

  /** How requests of this proxy have gone at the instances that it knows. */
  *counts(): Generator<{ readonly instance: string; readonly requests: number; readonly failures: number }> {
    const { instances } = this.#state;
    for (const { endpoint, link } of this.#instances.values())
      if (instances.has(endpoint.instance)) yield { instance: endpoint.instance, ...link.counts };
  }

  /** Whom it has been told to be at an address. */
  at(address: string): Located[] {
    const isThere = ({ endpoint }: Instance): boolean => endpoint.address === address;
    const located = ({ endpoint, facts: { isRouter } }: Instance): Located => ({ endpoint, isRouter });
    return this.#instances.values().filter(isThere).map(located).toArray();
  }

  /** Instances that are out as outliers, or on probation after that. */
  get ejectedCount(): number {
    let count = 0;
    for (const { member } of this.#instances.values()) if (member.standing.state !== "in") count += 1;
    return count;
  }

  /** Where this proxy's own node is; empty where nobody has said. */
  get zone(): string {
    return this.#zone;
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

  /** Lets go of links whose last request has ended, and of what has waited or been remembered long enough. */
  sweep(): void {
    this.#letGo();
    this.#prefixes.sweep();
  }

  #letGo(): void {
    for (const link of this.#leaving) {
      if (link.openCount > 0 || link.waitingCount > 0) continue;
      link.close();
      this.#leaving.delete(link);
    }
  }

  /** Breaks everything. */
  close(): void {
    this.#traffic.close();
    this.#prefixes.close();
    for (const { link } of this.#instances.values()) link.close();
    for (const link of this.#leaving) link.close();
    this.#instances.clear();
    this.#leaving.clear();
    this.#byService.clear();
  }

  /** A route as the traffic policy of its service wants it. */
  #policed(route: Route): Route {
    const upstream = this.#traffic.over(route.service, route.upstream, route.destination);
    return upstream === route.upstream ? route : { ...route, upstream };
  }

  /** Whether anything about an instance is other than it was. */
  #steppedInstance(instance: Instance): boolean {
    const { facts, link, member, endpoint } = instance;
    const now = factsOf(this.#state, endpoint);
    instance.facts = now;
    member.isDegraded = now.isDegraded;
    // What it has may end there; nothing new is begun.
    if (now.isDraining && !facts.isDraining) link.drain();
    if (!now.isDraining && facts.isDraining) link.resume();
    return (
      now.zone !== facts.zone ||
      now.isRouter !== facts.isRouter ||
      now.isDegraded !== facts.isDegraded ||
      now.isDraining !== facts.isDraining
    );
  }

  /** Tells every service who is there to choose from. */
  #arrange(): void {
    const members = new Map<string, Member<InstanceLink>[]>();
    const routers = new Map<string, Member<InstanceLink>[]>();
    for (const { endpoint, member, facts } of this.#instances.values()) {
      const { zone, isRouter, isDraining } = facts;
      if (isDraining || this.#isPrefix(endpoint.service)) continue;
      member.isNear = isRouter || this.#zone === "" || zone === this.#zone;
      if (!isRouter) listed(members, endpoint.service).push(member);
      else if (zone !== "") listed(routers, zone).push(member);
    }
    this.#routers.set(routers);
    for (const [service, { balancer }] of this.#byService) {
      if (members.has(service)) continue;
      balancer.setMembers([], false);
      this.#byService.delete(service);
    }
    for (const [service, present] of members) {
      const known = this.#byService.get(service) ?? this.#openService(service);
      known.balancer.setMembers(present, this.#zone !== "");
    }
    this.#prefixes.arrange();
  }

  /** Whether a name is a prefix that some service holds: then no instance is one of a service of that name. */
  #isPrefix(name: string): boolean {
    const { services, prefixes } = this.#state;
    return prefixes.has(name) && !services.has(name);
  }

  #prefixInstanceOf(instance: string): PrefixInstance | undefined {
    const known = this.#byInstance.get(instance);
    // What the agent calls it is hearsay; it is what the log has it registered as.
    const service = this.#state.instances.get(instance)?.service;
    if (known === undefined || service !== known.endpoint.service) return undefined;
    const { link, member, facts } = known;
    const { isDegraded, isDraining, isRouter } = facts;
    return { service, link, isNear: member.isNear, isDegraded, takesWork: !isDraining && !isRouter };
  }

  #openInstance(endpoint: Endpoint): Instance {
    const facts = factsOf(this.#state, endpoint);
    const link: InstanceLink = openInstanceLink({
      context: this.#context,
      svid: this.#svid,
      endpoint,
      passage: () => this.#passageTo(opened),
      onUnreachable: () => {
        link.noteFailure(false);
        this.#byService.get(endpoint.service)?.balancer.unreachable(link);
        this.#prefixes.unreachable(link);
        if (opened.facts.isRouter) this.#routers.unreachable(link);
      },
      onReached: (router) => {
        opened.via = router;
      },
      onEnding: () => this.#moveFrom(link),
      ...(facts.isRouter ? { limits: routerLinkLimits } : {}),
    });
    const member = new Member(link);
    member.isDegraded = facts.isDegraded;
    const opened: Instance = { endpoint, link, member, facts, via: undefined };
    return opened;
  }

  /** An instance of another zone is reached through the routers of that zone, if it has any; they themselves are not. */
  #passageTo({ endpoint, facts: { zone, isRouter } }: Instance): Passage | undefined {
    if (isRouter || zone === "" || this.#zone === "" || zone === this.#zone) return undefined;
    return this.#routers.passage(zone, endpoint.address);
  }

  /** Replaces what goes through a connection to a router that takes no more: it ends one day, whatever is on it. */
  #moveFrom(router: InstanceLink): void {
    for (const { link, via } of this.#instances.values())
      if (via === router) link.renew(this.#random() * moveMillisMax);
  }

  #openBalancer(service: string): Balancer<InstanceLink> {
    const { clock, metrics } = this.#context;
    return new Balancer<InstanceLink>({
      clock,
      random: this.#random,
      zones: metrics.zones,
      observer: {
        onEjected: (member) => this.#noteEjected(service, member),
        onReturned: (member) => this.#noteReturned(service, member),
      },
    });
  }

  #openService(service: string): ServiceInstances {
    const balancer = this.#openBalancer(service);
    const upstream: Upstream = { begin: (request) => new Http2Exchange(request, balancer) };
    const opened: ServiceInstances = {
      balancer,
      route: { service, destination: service, upstream },
      policy: undefined,
    };
    this.#byService.set(service, opened);
    this.#takePolicy(service, opened);
    return opened;
  }

  #takePolicy(service: string, known: ServiceInstances): void {
    const policy = this.#state.traffic.get(service);
    if (policy === known.policy) return;
    known.policy = policy;
    known.balancer.setPolicy({ inFlightMax: policy?.inFlightMax, outliers: policy?.outliers });
  }

  #noteEjected(service: string, { link, standing }: Member<InstanceLink>): void {
    const { log, metrics, clock } = this.#context;
    const reason = standing.reason ?? "";
    const seconds = Math.round((standing.untilMillis - clock.monotonicMillis()) / 1000);
    metrics.ejections.add(reason);
    log.warn("instance ejected", { service, instance: this.#instanceOf(link), reason, seconds });
  }

  #noteReturned(service: string, { link }: Member<InstanceLink>): void {
    this.#context.log.info("instance is back", { service, instance: this.#instanceOf(link) });
  }

  #instanceOf(link: InstanceLink): string {
    for (const instance of this.#instances.values())
      if (instance.link === link) return instance.endpoint.instance;
    return "";
  }

  #nameOfLink(link: InstanceLink | undefined): string {
    if (link === undefined) return "";
    for (const { endpoint, link: known } of this.#instances.values())
      if (known === link) return `${endpoint.service} ${endpoint.instance}`;
    return "";
  }

  get #state(): TrustState {
    return this.#context.view.follower.state;
  }
}

/** The list at a key, which is there from now on. */
function listed<Item>(lists: Map<string, Item[]>, key: string): Item[] {
  const known = lists.get(key) ?? [];
  lists.set(key, known);
  return known;
}
