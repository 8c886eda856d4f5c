import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { messageOf } from "../../base/mesh-error.ts";
import type { TrafficRow, TrustState } from "../../trust-log/index.ts";
import type { ForwardedRequest, Forwarding, Upstream } from "../forwarding/index.ts";
import { pathOf } from "../request-trace.ts";
import type { ExhaustedTraces } from "./exhausted-traces.ts";
import { Mirrors } from "./mirrors.ts";
import { withPatience } from "./patience.ts";
import { PolicyExchange, type PolicyService, type RequestPolicy } from "./policy-exchange.ts";
import { RetryBudget, retryBudgetPercentDefault } from "./retry-budget.ts";
import { RouteTable } from "./route-policy.ts";
import type { TrafficCounts } from "./traffic-counts.ts";
import { Waits } from "./waits.ts";

/** What traffic policies need of the proxy in which they are in force. */
export interface TrafficParts {
  /** The policies of the trust log, as they are now, by service. */
  readonly rows: () => Pick<TrustState["traffic"], "size" | "has" | "get">;
  readonly clock: Clock;
  readonly log: Log;
  readonly counts: TrafficCounts;
  readonly exhausted: ExhaustedTraces;
  /** The way to a service without a policy; undefined where nothing serves it. */
  readonly upstreamOf: (service: string) => Upstream | undefined;
  /** Draws from 0 to below 1. */
  readonly random: () => number;
}

/** The traffic policies of the trust log, in force for what one proxy calls. */
export class TrafficPolicies {
  readonly #parts: TrafficParts;
  readonly #waits: Waits;
  readonly #mirrors: Mirrors;
  /** By what is asked for: a service, or a prefix that one holds. */
  readonly #ways = new Map<string, PolicedService>();

  constructor(parts: TrafficParts) {
    const { clock, counts, upstreamOf } = parts;
    this.#parts = parts;
    this.#waits = new Waits(clock);
    const onFault = (fault: unknown): void => this.#onFault(fault);
    this.#mirrors = new Mirrors({ upstreamOf, waits: this.#waits, counts, onFault });
  }

  /** The way to a service as its policy wants it, or to a prefix that it holds; the same way where there is none. */
  over(service: string, upstream: Upstream, destination = service): Upstream {
    const rows = this.#parts.rows();
    if (rows.size === 0) return upstream;
    const row = rows.get(service);
    if (row === undefined) return upstream;
    let policed = this.#ways.get(destination);
    if (policed?.row !== row || policed.upstream !== upstream) {
      policed = this.#compile(service, {
        row,
        upstream,
        service,
        budget: policed?.budget ?? new RetryBudget(),
      });
      this.#forget();
      this.#ways.set(destination, policed);
    }
    return policed;
  }

  /** Ends what has been begun besides requests. */
  close(): void {
    this.#mirrors.close();
    this.#waits[Symbol.dispose]();
  }

  #compile(service: string, parts: PolicedParts): PolicedService {
    const { counts, exhausted, random } = this.#parts;
    return new PolicedService(parts, {
      waits: this.#waits,
      counts,
      random,
      mirrors: this.#mirrors,
      exhausted,
      onFault: (fault) => this.#onFault(fault, service),
    });
  }

  /** Lets go of services whose policy has been removed. */
  #forget(): void {
    const rows = this.#parts.rows();
    for (const [destination, { service }] of this.#ways)
      if (!rows.has(service)) this.#ways.delete(destination);
  }

  #onFault(fault: unknown, service = ""): void {
    this.#parts.log.error("fault in a traffic policy", { service, error: messageOf(fault) });
  }
}

interface PolicedParts {
  readonly service: string;
  readonly row: TrafficRow;
  readonly upstream: Upstream;
  readonly budget: RetryBudget;
}

interface SharedParts extends Pick<PolicyService, "waits" | "counts" | "random" | "onFault"> {
  readonly mirrors: Mirrors;
  readonly exhausted: ExhaustedTraces;
}

/** The way to one service under one policy. */
class PolicedService implements Upstream {
  readonly service: string;
  readonly row: TrafficRow;
  readonly upstream: Upstream;
  readonly budget: RetryBudget;
  readonly #shared: SharedParts;
  readonly #routes: RouteTable;
  readonly #service: PolicyService;

  constructor({ service, row, upstream, budget }: PolicedParts, shared: SharedParts) {
    this.service = service;
    this.row = row;
    this.upstream = upstream;
    this.budget = budget;
    this.#shared = shared;
    this.#routes = new RouteTable(row);
    const percent = row.retryBudgetPercent ?? retryBudgetPercentDefault;
    const { waits, exhausted } = shared;
    this.#service = {
      ...shared,
      upstream,
      takeRetry: () => budget.take(percent, waits.nowMillis),
      onExhausted: (request) => exhausted.add(request),
    };
  }

  /** A request that its policy has nothing to do with goes its way as if there was none. */
  begin(parts: ForwardedRequest): Forwarding {
    const { request } = parts;
    const { waits } = this.#shared;
    const route = this.#routes.for(request.method, pathOf(request.target));
    this.budget.countRequest(waits.nowMillis);
    // A tunnel has no end that a policy could wait for.
    if (request.tunnel !== undefined) return this.upstream.begin(parts);
    const policy: RequestPolicy = {
      timeoutMillis: route.timeoutMillis,
      retries: route.retries?.methods.has(request.method) === true ? route.retries : undefined,
      fault: this.#draws(route.fault) ? route.fault : undefined,
      mirror: this.#mirror(route.mirror),
    };
    const { timeoutMillis, retries, fault, mirror } = policy;
    const isPlain = timeoutMillis === Number.POSITIVE_INFINITY && (retries ?? fault ?? mirror) === undefined;
    if (isPlain) return this.upstream.begin(parts);
    return new PolicyExchange(withPatience(parts, timeoutMillis), policy, this.#service);
  }

  #mirror(mirror: { readonly to: string; readonly percent: number } | undefined): RequestPolicy["mirror"] {
    if (mirror === undefined || !this.#draws(mirror)) return undefined;
    return (copy) => this.#shared.mirrors.send(mirror.to, copy);
  }

  #draws(of: { readonly percent: number } | undefined): boolean {
    return of !== undefined && this.#shared.random() * 100 < of.percent;
  }
}
