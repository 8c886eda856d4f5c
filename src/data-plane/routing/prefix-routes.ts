import { fail, ok, type Result } from "../../base/result.ts";
import type { Endpoint } from "../../protocol/index.ts";
import { matchPrefix, type PrefixMatch, type TrafficRow, type TrustState } from "../../trust-log/index.ts";
import { Http2Exchange, type InstanceLink } from "../forwarding/index.ts";
import type { ProxyContext } from "../proxy-context.ts";
import type { AdvertisedInstance } from "./advertisement.ts";
import { Advertisements } from "./advertisements.ts";
import { type Balancer, Member } from "./balancer.ts";
import { RefusedAdvertisements } from "./refused-advertisements.ts";
import type { Route } from "./service-router.ts";

/** Prefixes that are asked for for which the way is kept. */
const prefixesKeptMax = 4_096;
/** Names whose prefix is remembered until the next step of the log. */
const namesMax = 4_096;

/** An instance as the choice among those of a prefix sees it. */
export interface PrefixInstance {
  readonly service: string;
  readonly link: InstanceLink;
  readonly isNear: boolean;
  /** Whether others are to be preferred. */
  readonly isDegraded: boolean;
  /** Whether new requests may go there. */
  readonly takesWork: boolean;
}

/** What routes by prefix need of the proxy that they are of. */
export interface PrefixContext
  extends Pick<ProxyContext, "clock" | "log" | "alarm" | "dangerBelieveAdvertisements"> {
  readonly metrics: Pick<ProxyContext["metrics"], "refusedAdvertisements">;
  readonly view: { readonly follower: { readonly size: number; readonly state: TrustState } };
}

/** What routes by prefix are made of. */
export interface PrefixRouteParts {
  readonly instanceOf: (instance: string) => PrefixInstance | undefined;
  readonly openBalancer: (holder: string) => Balancer<InstanceLink>;
  /** Whether the caller is in a zone. */
  readonly hasZone: () => boolean;
}

interface PrefixGroup {
  readonly holder: string;
  readonly balancer: Balancer<InstanceLink>;
  readonly route: Route;
  members: Map<InstanceLink, Member<InstanceLink>>;
  policy: TrafficRow | undefined;
}

/**
 * The routes to prefixes that services hold besides their own names: the log says whose a name is, and of the holder's
 * instances those are asked that advertise the prefix. Opened when first asked for.
 */
export class PrefixRoutes {
  readonly #context: PrefixContext;
  readonly #parts: PrefixRouteParts;
  readonly #advertisements: Advertisements;
  readonly #refused: RefusedAdvertisements;
  readonly #groups = new Map<string, PrefixGroup>();
  /** What a name belongs to, as the log is now. */
  readonly #matches = new Map<string, PrefixMatch | undefined>();

  constructor(context: PrefixContext, parts: PrefixRouteParts) {
    const { clock, log, metrics, alarm, view } = context;
    this.#context = context;
    this.#parts = parts;
    const count = (reason: string): void => metrics.refusedAdvertisements.add(reason);
    this.#refused = new RefusedAdvertisements({ clock, log, count, alarm });
    this.#advertisements = new Advertisements({
      state: () => this.#state,
      size: () => view.follower.size,
      clock,
      changed: () => this.arrange(),
      refused: (refused) => this.#refused.note(refused),
      dangerBelieveAll: () => this.#dangerBelieveAll,
      later: setImmediate,
    });
  }

  /** Takes the present list of endpoints, with what they say of themselves. */
  take(endpoints: readonly Endpoint[]): void {
    this.#advertisements.take(endpoints);
  }

  /** Takes note of a step of the trust log. */
  stepped(): void {
    this.#advertisements.stepped();
    this.arrange();
  }

  /** What an instance says of itself, as far as it is believed. */
  saidBy(instance: string): Pick<AdvertisedInstance, "prefixes" | "audience"> {
    const { prefixes = [], audience = "" } = this.#advertisements.by(instance) ?? {};
    return { prefixes, audience };
  }

  /** Lets go of what has waited or been remembered long enough. */
  sweep(): void {
    this.#advertisements.sweep();
    this.#refused.sweep();
  }

  /** Checks nothing more. */
  close(): void {
    this.#advertisements.close();
  }

  /** Where a request to a name goes that is no registered service's own. */
  routeTo(name: string): Result<Route, "unknown-service" | "no-instances"> {
    const match = this.#matchOf(name);
    if (match === undefined) return fail("unknown-service", name);
    const { prefix, holder } = match;
    const known = this.#groups.get(prefix);
    const group = known?.holder === holder ? known : this.#open(prefix, holder);
    return group.members.size > 0
      ? ok(group.route)
      : fail("no-instances", `${holder} holds ${prefix}, and no instance of it serves it now`);
  }

  /** Takes note of whatever has changed: instances, what they advertise, who holds what. */
  arrange(): void {
    this.#matches.clear();
    for (const [prefix, group] of this.#groups)
      if (this.#dangerBelieveAll || this.#state.prefixes.get(prefix)?.holder === group.holder)
        this.#fill(prefix, group);
      else this.#close(prefix, group);
  }

  /** An instance could not be reached. */
  unreachable(link: InstanceLink): void {
    for (const { balancer } of this.#groups.values()) balancer.unreachable(link);
  }

  get #state(): TrustState {
    return this.#context.view.follower.state;
  }

  /** Whether whoever advertises a prefix is asked, whoever holds it. */
  get #dangerBelieveAll(): boolean {
    return this.#context.dangerBelieveAdvertisements && this.#state.genesis?.isTestDomain === true;
  }

  #matchOf(name: string): PrefixMatch | undefined {
    const known = this.#matches.get(name);
    if (known !== undefined || this.#matches.has(name)) return known;
    const match = this.#dangerMatch(name) ?? matchPrefix(this.#state, name);
    if (this.#matches.size >= namesMax) this.#matches.clear();
    this.#matches.set(name, match);
    return match;
  }

  #dangerMatch(name: string): PrefixMatch | undefined {
    if (!this.#dangerBelieveAll) return undefined;
    for (let end = name.length; end > 0; end = name.lastIndexOf("/", end - 1)) {
      const prefix = name.slice(0, end);
      const [first] = this.#advertisements.of(prefix) ?? [];
      const holder = first === undefined ? undefined : this.#parts.instanceOf(first)?.service;
      if (holder !== undefined) return { prefix, holder };
    }
    return undefined;
  }

  #open(prefix: string, holder: string): PrefixGroup {
    if (this.#groups.size >= prefixesKeptMax)
      for (const [other, group] of this.#groups) this.#close(other, group);
    const balancer = this.#parts.openBalancer(holder);
    const upstream: Route["upstream"] = { begin: (request) => new Http2Exchange(request, balancer) };
    const route: Route = { service: holder, destination: prefix, upstream };
    const group: PrefixGroup = { holder, balancer, route, members: new Map(), policy: undefined };
    this.#groups.set(prefix, group);
    this.#fill(prefix, group);
    return group;
  }

  #fill(prefix: string, group: PrefixGroup): void {
    const { instanceOf, hasZone } = this.#parts;
    const members = new Map<InstanceLink, Member<InstanceLink>>();
    for (const id of this.#advertisements.of(prefix) ?? []) {
      const instance = instanceOf(id);
      // The grant is of the service; an instance of another one says it serves the prefix, and does not.
      if (instance?.takesWork !== true) continue;
      if (instance.service !== group.holder && !this.#dangerBelieveAll) continue;
      const { link, isNear, isDegraded } = instance;
      const member = group.members.get(link) ?? new Member(link);
      member.isNear = isNear;
      member.isDegraded = isDegraded;
      members.set(link, member);
    }
    group.members = members;
    group.balancer.setMembers([...members.values()], hasZone());
    const policy = this.#state.traffic.get(group.holder);
    if (policy === group.policy) return;
    group.policy = policy;
    group.balancer.setPolicy({ inFlightMax: policy?.inFlightMax, outliers: policy?.outliers });
  }

  /** What is under way by it finds nobody to be tried next. */
  #close(prefix: string, group: PrefixGroup): void {
    group.balancer.setMembers([], false);
    this.#groups.delete(prefix);
  }
}
