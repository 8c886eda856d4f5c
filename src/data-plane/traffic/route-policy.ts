import { isBelow } from "../../policy/index.ts";
import type { TrafficRow } from "../../trust-log/index.ts";

/** Methods that do no more when done twice (RFC 9110, 9.2.2), of those that are forwarded. */
const idempotentMethods = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"];

/** Why an attempt may be followed by another. */
export type RetryCondition = NonNullable<TrafficRow["retries"]>["on"][number];

/** When requests are repeated, and how often. */
export interface RetryPolicy {
  readonly retriesMax: number;
  /** How long one attempt may be without a response; `Infinity` where nothing is said. */
  readonly attemptMillis: number;
  readonly on: ReadonlySet<RetryCondition>;
  readonly methods: ReadonlySet<string>;
}

/** Where a share of the requests goes as well. */
export type MirrorPolicy = NonNullable<TrafficRow["routes"][number]["mirror"]>;

/** What is done wrong to a share of the requests. */
export type FaultPolicy = NonNullable<TrafficRow["routes"][number]["fault"]>;

/** How a request is carried. */
export interface RoutePolicy {
  /** `Infinity` where there is none. */
  readonly timeoutMillis: number;
  readonly retries: RetryPolicy | undefined;
  readonly mirror: MirrorPolicy | undefined;
  readonly fault: FaultPolicy | undefined;
}

type TrafficRoute = TrafficRow["routes"][number];

interface CompiledRoute {
  readonly methods: readonly string[];
  readonly paths: readonly string[];
  readonly policy: RoutePolicy;
}

/** The routes of a service's traffic policy, made ready for requests. */
export class RouteTable {
  readonly #routes: readonly CompiledRoute[];
  readonly #rest: RoutePolicy;

  constructor(row: TrafficRow) {
    this.#rest = policyOf(row, undefined);
    this.#routes = row.routes.map((route) => ({
      methods: route.methods,
      paths: route.paths,
      policy: policyOf(row, route),
    }));
  }

  /** How a request is carried: by the first route that fits, or by what is said for the whole service. */
  for(method: string, path: string): RoutePolicy {
    for (const { methods, paths, policy } of this.#routes) {
      if (methods.length > 0 && !methods.includes(method)) continue;
      if (paths.length === 0 || paths.some((prefix) => isBelow(prefix, path))) return policy;
    }
    return this.#rest;
  }
}

/** What a route says takes the place of what the service says; neither a timeout of 0 nor 0 retries are any. */
function policyOf(row: TrafficRow, route: TrafficRoute | undefined): RoutePolicy {
  const timeoutMillis = route?.timeoutMillis ?? row.timeoutMillis ?? 0;
  const retries = route?.retries ?? row.retries;
  return {
    timeoutMillis: timeoutMillis === 0 ? Number.POSITIVE_INFINITY : timeoutMillis,
    retries: retries === undefined || retries.retriesMax === 0 ? undefined : compiledRetries(retries),
    mirror: route?.mirror,
    fault: route?.fault,
  };
}

function compiledRetries(retries: NonNullable<TrafficRow["retries"]>): RetryPolicy {
  const { retriesMax, attemptMillis = Number.POSITIVE_INFINITY, on, methods } = retries;
  return {
    retriesMax,
    attemptMillis,
    on: new Set(on),
    methods: new Set(methods.length === 0 ? idempotentMethods : methods),
  };
}
