import { z } from "zod";
import { canonicalJson } from "../base/canonical-json.ts";
import { entryBodies, type TrafficRow } from "../trust-log/index.ts";
import { dialectVersion, servicePrefixText, textLike } from "./dialect-text.ts";

const traffic = entryBodies["traffic.put"].shape;
const route = traffic.routes.element.shape;
const hourMillis = 3_600_000;

const methods = z
  .array(textLike(route.methods.element, "an HTTP method in capitals such as GET"))
  .max(16, "expected at most 16 methods");
const paths = z
  .array(
    textLike(
      route.paths.element,
      "a path that begins with /, as requests are decided on: without spaces, ?, // and /../",
    ),
  )
  .max(16, "expected at most 16 paths");
const timeoutMillis = whole(0, hourMillis);

const retries = z.strictObject({
  retriesMax: whole(0, 5).default(2).describe("Attempts after the first; 0 for none. 2 unless given."),
  attemptMillis: whole(1, hourMillis)
    .exactOptional()
    .describe("How long one attempt may be without a response before it counts as `timeout`."),
  on: z
    .array(z.enum(["connect-failed", "reset", "timeout", "502", "503", "504"]))
    .min(1, "expected at least one condition; retriesMax: 0 is no retries")
    .max(6, "expected at most 6 conditions")
    .default(["503", "connect-failed", "reset"])
    .describe(
      "After what: `connect-failed`, `reset` (before a response), `timeout`, and the statuses `502`, `503`, `504` in " +
        'quotes; `UNAVAILABLE` of gRPC is `"503"`. `[connect-failed, reset, "503"]` unless given.',
    ),
  methods: methods
    .default([])
    .describe("Only these methods; GET, HEAD, OPTIONS, PUT and DELETE unless given."),
});

const mirror = z.strictObject({
  to: servicePrefixText.describe("The service that gets the copies; its own rules decide on them."),
  percent: whole(1, 100)
    .default(100)
    .describe("How many of a hundred requests are copied; all unless given."),
});

const fault = z
  .strictObject({
    percent: whole(1, 100).describe("How many of a hundred requests it is done to."),
    delayMillis: whole(1, hourMillis).exactOptional().describe("How long they are held up."),
    status: whole(400, 599).exactOptional().describe("What they are answered, in place of the service."),
  })
  .refine(
    ({ delayMillis, status }) => delayMillis !== undefined || status !== undefined,
    "expected delayMillis or status, or both",
  );

const outliers = z.strictObject({
  consecutiveFailures: whole(1, 1_000).default(5).describe("Failures in a row; 5 unless given."),
  ejectSeconds: whole(1, 3_600)
    .default(30)
    .describe("How long it is left alone the first time; 30 unless given."),
  ejectSecondsMax: whole(1, 86_400)
    .default(300)
    .describe("And at most, when that repeats; 300 unless given."),
  ejectPercentMax: whole(1, 100)
    .default(50)
    .describe("How many of a hundred instances at most are left alone; 50 unless given."),
});

const trafficRoute = z.strictObject({
  methods: methods.default([]).describe("Only these methods; all unless given."),
  paths: paths.default([]).describe("Only these paths and what is below them; all unless given."),
  timeoutMillis: timeoutMillis.exactOptional().describe("In place of the service's; 0 for none."),
  retries: retries.exactOptional().describe("In place of the service's; `retriesMax: 0` for none."),
  mirror: mirror.exactOptional().describe("Where copies go, whose answers nobody gets."),
  fault: fault.exactOptional().describe("What is done wrong on purpose."),
});

/** How calls of a service are carried: entry kinds `traffic.put` and `traffic.remove`. */
export const trafficPolicyManifest = z.strictObject({
  apiVersion: z.literal(dialectVersion),
  kind: z.literal("TrafficPolicy"),
  metadata: z.strictObject({ name: servicePrefixText.describe("The service that is called.") }),
  spec: z
    .strictObject({
      protocol: z
        .enum(["http", "tcp"])
        .default("http")
        .describe("What it speaks: `http` (gRPC too) or `tcp`. `http` unless given."),
      timeoutMillis: timeoutMillis
        .exactOptional()
        .describe(
          "From the head of a request to the end of its response; 0 or nothing for no bound but those on silence.",
        ),
      retries: retries.exactOptional().describe("What is asked for again; nothing unless given."),
      retryBudgetPercent: whole(1, 100)
        .exactOptional()
        .describe(
          "Retries per hundred requests of one caller's proxy, on all routes together. 20 unless given.",
        ),
      inFlightMax: whole(1, 100_000)
        .exactOptional()
        .describe("Requests that one caller's proxy has at one instance at a time; no bound unless given."),
      outliers: outliers
        .exactOptional()
        .describe("When an instance that fails is left alone; never unless given."),
      routes: z
        .array(trafficRoute)
        .max(64, "expected at most 64 routes")
        .default([])
        .describe("Requests that are carried differently; the first route that fits counts."),
    })
    .describe("How callers' proxies carry requests to the service."),
});

/** The traffic policy of one service as a file says it. */
export type TrafficPolicyManifest = z.infer<typeof trafficPolicyManifest>;

type Spec = TrafficPolicyManifest["spec"];
type Retries = NonNullable<Spec["retries"]>;

/** A traffic policy of the trust log in the dialect. */
export function trafficPolicyOf(name: string, row: TrafficRow): TrafficPolicyManifest {
  return { apiVersion: dialectVersion, kind: "TrafficPolicy", metadata: { name }, spec: orderedSpec(row) };
}

/** The one form of all traffic policies that mean the same. */
export function orderedTraffic(manifest: TrafficPolicyManifest): TrafficPolicyManifest {
  return { ...manifest, spec: orderedSpec(manifest.spec) };
}

/** Whether two traffic policies, each in its one form, say the same. */
export function isSameTraffic(one: TrafficPolicyManifest, other: TrafficPolicyManifest): boolean {
  return canonicalJson(one.spec) === canonicalJson(other.spec);
}

/** What no schema sees: what cannot have an effect, by path within the object, with what is wrong there. */
export function contradictionsIn({ metadata, spec }: TrafficPolicyManifest): [(string | number)[], string][] {
  const found: [(string | number)[], string][] = [];
  if (spec.protocol === "tcp") {
    const ofRequests = (["timeoutMillis", "retries", "retryBudgetPercent"] as const).filter(
      (field) => spec[field] !== undefined,
    );
    const fields = spec.routes.length > 0 ? [...ofRequests, "routes"] : ofRequests;
    for (const field of fields)
      found.push([["spec", field], 'has no meaning with "protocol: tcp", which has no requests']);
  }
  const catchAll = spec.routes.findIndex((one) => one.methods.length === 0 && one.paths.length === 0);
  for (const [place, { mirror: to }] of spec.routes.entries()) {
    if (catchAll >= 0 && place > catchAll)
      found.push([["spec", "routes", place], `never counts: every request fits spec.routes[${catchAll}]`]);
    if (to?.to === metadata.name)
      found.push([["spec", "routes", place, "mirror", "to"], "expected another service than the one itself"]);
  }
  return found;
}

function orderedSpec(spec: Spec | TrafficRow): Spec {
  const {
    protocol,
    timeoutMillis: timeout,
    retries: again,
    retryBudgetPercent,
    inFlightMax,
    outliers: out,
  } = spec;
  return {
    protocol,
    ...(timeout === undefined ? {} : { timeoutMillis: timeout }),
    ...(again === undefined ? {} : { retries: orderedRetries(again) }),
    ...(retryBudgetPercent === undefined ? {} : { retryBudgetPercent }),
    ...(inFlightMax === undefined ? {} : { inFlightMax }),
    ...(out === undefined ? {} : { outliers: { ...out } }),
    routes: spec.routes.map((one) => ({
      methods: asSet(one.methods),
      paths: asSet(one.paths),
      ...(one.timeoutMillis === undefined ? {} : { timeoutMillis: one.timeoutMillis }),
      ...(one.retries === undefined ? {} : { retries: orderedRetries(one.retries) }),
      ...(one.mirror === undefined ? {} : { mirror: { ...one.mirror } }),
      ...(one.fault === undefined ? {} : { fault: { ...one.fault } }),
    })),
  };
}

function orderedRetries({ retriesMax, attemptMillis, on, methods: named }: Retries): Retries {
  const bound = attemptMillis === undefined ? {} : { attemptMillis };
  return { retriesMax, ...bound, on: asSet(on), methods: asSet(named) };
}

function asSet<Word extends string>(words: readonly Word[]): Word[] {
  return [...new Set(words)].sort();
}

function whole(min: number, max: number): z.ZodInt {
  const expected = `expected a whole number from ${min} to ${max}`;
  return z.int(expected).min(min, expected).max(max, expected);
}
