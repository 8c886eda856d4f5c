import type { Duplex } from "node:stream";
import { fail, ok, type Result } from "../../base/result.ts";
import { defaultLinkLimits, Http2Exchange, type InstanceLink, type LinkLimits } from "../forwarding/index.ts";
import { type Http2Limits, memberHttp2Limits } from "../http2/index.ts";
import type { ProxyContext } from "../proxy-context.ts";
import { Balancer, type Member } from "./balancer.ts";
import { type NoTunnel, openTunnelStream } from "./tunnel-stream.ts";

/** How many routers of a zone are asked for one connection. */
const routersTriedMax = 3;
/** How long one may take to open a tunnel; then another is asked, while there is time. */
const tunnelMillisMax = 2_000;
/** As long as an SVID may live: a connection that carries others is not replaced for its age, as those are by theirs. */
const carrierMillisMax = 86_400_000;

/** Of a connection of HTTP/2 between a caller and a router. */
export const carrierHttp2Limits: Http2Limits = { ...memberHttp2Limits, ageMillisMax: carrierMillisMax };

/** The limits of a caller's connections to a router. */
export const routerLinkLimits: LinkLimits = { ...defaultLinkLimits, http2: carrierHttp2Limits };

/** A tunnel, and the router that it goes through. */
export interface Carried {
  readonly stream: Duplex;
  readonly router: InstanceLink;
}

/** The way to an address in another zone, through the routers of that zone. */
export interface Passage {
  /** Opens a tunnel through a router that is not among those `tried`; undefined where all there are have been. */
  open(tried: InstanceLink[], signal: AbortSignal): Promise<Result<Carried, NoTunnel>> | undefined;
  /** Leaves a router alone for a moment where others can be asked: what came through it was of no use. */
  avoid(router: InstanceLink): void;
}

/** The routers by the zone that they take callers into. */
export class ZoneRouters {
  readonly #context: Pick<ProxyContext, "clock" | "timer">;
  readonly #random: () => number;
  readonly #byZone = new Map<string, { readonly balancer: Balancer<InstanceLink>; count: number }>();

  constructor(context: Pick<ProxyContext, "clock" | "timer">, random: () => number) {
    this.#context = context;
    this.#random = random;
  }

  /** Takes who there is now. */
  set(byZone: ReadonlyMap<string, readonly Member<InstanceLink>[]>): void {
    for (const [zone, { balancer }] of this.#byZone) {
      if (byZone.has(zone)) continue;
      balancer.setMembers([], false);
      this.#byZone.delete(zone);
    }
    for (const [zone, members] of byZone) {
      const known = this.#byZone.get(zone) ?? { balancer: this.#newBalancer(), count: 0 };
      known.balancer.setMembers(members, false);
      known.count = members.length;
      this.#byZone.set(zone, known);
    }
  }

  /** A router could not be reached. */
  unreachable(router: InstanceLink): void {
    for (const { balancer } of this.#byZone.values()) balancer.unreachable(router);
  }

  /** The way to an address of a zone; undefined where no router takes callers there. */
  passage(zone: string, address: string): Passage | undefined {
    const routers = this.#byZone.get(zone);
    if (routers === undefined) return undefined;
    const { balancer, count } = routers;
    return {
      open: (tried, signal) =>
        tried.length < Math.min(count, routersTriedMax)
          ? this.#open(balancer, { address, tried, signal })
          : undefined,
      avoid: (router) => balancer.avoid(router),
    };
  }

  async #open(
    balancer: Balancer<InstanceLink>,
    asked: { readonly address: string; readonly tried: InstanceLink[]; readonly signal: AbortSignal },
  ): Promise<Result<Carried, NoTunnel>> {
    const { address, tried } = asked;
    const { timer } = this.#context;
    const limit = AbortSignal.timeout(tunnelMillisMax);
    const opened = await openTunnelStream(
      address,
      {
        upstream: { begin: (request) => new Http2Exchange(request, balancer) },
        timer,
        attempts: { tried, coverResets: true },
      },
      AbortSignal.any([asked.signal, limit]),
    );
    const router = tried.at(-1);
    if (router === undefined) return opened.ok ? fail("router-unreachable", "no router") : opened;
    if (opened.ok) return ok({ stream: opened.value, router });
    if (limit.aborted) balancer.avoid(router);
    return opened;
  }

  #newBalancer(): Balancer<InstanceLink> {
    return new Balancer<InstanceLink>({
      clock: this.#context.clock,
      random: this.#random,
      zones: { same: 0, other: 0 },
      observer: { onEjected: () => {}, onReturned: () => {} },
    });
  }
}
