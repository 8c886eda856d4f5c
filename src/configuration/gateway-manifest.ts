import { z } from "zod";
import { entryBodies } from "../trust-log/index.ts";
import { dialectVersion } from "./dialect-text.ts";
import { type Problem, shown } from "./problem.ts";
import { problemsOf } from "./read-manifests.ts";
import { readYaml, type SourceText } from "./yaml-source.ts";

const listenersMax = 16;
const certificatesMax = 64;
const gatewayRoutesMax = 256;
const hostsMax = 64;
const problemsMax = 100;

const serviceName = text(
  entryBodies["service.put"].shape.name,
  "a service name such as /shop/payments",
).refine(
  (name) => !/^\/troth(\/|$)/.test(name),
  "expected another name: /troth is reserved for the mesh's own processes",
);
const file = z.string("expected the name of a file").min(1, "expected the name of a file");
const hostPattern =
  /^(?=.{1,253}$)(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const addressPattern = /^(?:\[[0-9a-f:.]+\]|[0-9A-Za-z.-]+):(?<port>[0-9]{1,5})$/;
const pathPattern = entryBodies["rule.put"].shape.paths.element;

const listener = z.strictObject({
  address: z
    .string("expected an address such as 0.0.0.0:8443")
    .refine(isAddress, "expected an address such as 0.0.0.0:8443")
    .describe("`host:port` to listen on; port 0 takes any."),
  tls: z
    .array(
      z.strictObject({
        certificate: file.describe("A PEM file with the certificate and its chain, leaf first."),
        key: file.describe("A PEM file with its private key."),
      }),
    )
    .min(1, "expected at least one certificate")
    .max(certificatesMax, `expected at most ${certificatesMax} certificates`)
    .optional()
    .describe(
      "Certificates; a client is shown the one for the host it names, or the first. The files are read again when they change; their names are relative to this file. Without any the listener speaks plain HTTP, on loopback only.",
    ),
  redirectToHttpsPort: z
    .int("expected a port")
    .min(1, "expected a port")
    .max(65_535, "expected a port")
    .optional()
    .describe(
      "Answers every request with a redirect (308) to `https` on this port; for listeners without `tls`.",
    ),
});

const route = z.strictObject({
  hosts: z
    .array(
      z
        .string("expected a host such as shop.example")
        .refine(
          (host) => host === "*" || hostPattern.test(host),
          'expected a host in small letters such as shop.example, "*.shop.example" for one label more, or "*"',
        ),
    )
    .min(1, "expected at least one host")
    .max(hostsMax, `expected at most ${hostsMax} hosts`)
    .describe(
      "Hosts; the one that names a request's host most exactly decides alone. No other host is served.",
    ),
  pathPrefix: z
    .string("expected a path")
    .refine(
      (path) => path === "/" || (pathPattern.safeParse(path).success && !path.endsWith("/")),
      "expected / or a path such as /api, without a slash at its end, ?, // and /../",
    )
    .default("/")
    .describe("This path and what is below it; of several the longest. `/` unless given."),
  service: serviceName.describe("The service of the mesh that takes the requests."),
  stripPrefix: z
    .boolean("expected true or false")
    .default(false)
    .describe("Whether the service gets the path without the prefix. `false` unless given."),
});

/** What a gateway listens for and where it takes what comes. */
export const gatewayManifest = z.strictObject({
  apiVersion: z.literal(dialectVersion),
  kind: z.literal("Gateway"),
  metadata: z.strictObject({
    name: serviceName.describe("The service that the gateway calls others as, such as /edge/gateway."),
  }),
  spec: z.strictObject({
    listeners: z
      .array(listener)
      .min(1, "expected at least one listener")
      .max(listenersMax, `expected at most ${listenersMax} listeners`)
      .describe("Where clients from outside come in."),
    routes: z
      .array(route)
      .min(1, "expected at least one route")
      .max(gatewayRoutesMax, `expected at most ${gatewayRoutesMax} routes`)
      .describe("Where their requests go. What no route names cannot be reached from outside."),
    limits: z
      .strictObject({
        connectionsPerAddressMax: count().describe("Connections of one client address; 512 unless given."),
        requestsPerAddressMax: count().describe(
          "Requests of one client address that are under way; 2048 unless given.",
        ),
      })
      .default({})
      .describe("What one client address may have at once: an IPv4 address, or the /64 of an IPv6 one."),
  }),
});

/** A gateway as a file says it. */
export type GatewayManifest = z.infer<typeof gatewayManifest>;

/** A gateway, and the problem to tell of a place in its file. */
export interface GatewayDocument {
  readonly gateway: GatewayManifest;
  readonly problemAt: (path: readonly PropertyKey[], message: string) => Problem;
}

/** Reads the one gateway of a file; where there is a problem, there is no gateway. */
export function readGateway(source: SourceText): {
  readonly document?: GatewayDocument;
  readonly problems: readonly Problem[];
} {
  const problems: Problem[] = [];
  const documents = [...readYaml(source, (problem) => problems.push(problem))];
  const [document, second] = documents;
  if (problems.length > 0) return { problems: problems.slice(0, problemsMax) };
  if (document === undefined) {
    const place = { file: source.name, line: 1, column: 1, path: "" };
    return { problems: [{ ...place, message: "expected an object of kind Gateway, got nothing" }] };
  }
  if (second !== undefined)
    return { problems: [second.problemAt([], "value", "expected one object of kind Gateway, got a second")] };
  if (typeof document.value !== "object" || document.value === null || Array.isArray(document.value)) {
    const message = `expected an object of kind Gateway, got ${shown(document.value)}`;
    return { problems: [document.problemAt([], "value", message)] };
  }
  const parsed = gatewayManifest.safeParse(document.value);
  if (!parsed.success)
    return {
      problems: parsed.error.issues
        .flatMap((issue) => problemsOf(issue, document, gatewayManifest))
        .slice(0, problemsMax),
    };
  const problemAt = (path: readonly PropertyKey[], message: string): Problem =>
    document.problemAt(path, "value", message);
  const contradictions = contradictionsIn(parsed.data, problemAt);
  return contradictions.length > 0
    ? { problems: contradictions.slice(0, problemsMax) }
    : { document: { gateway: parsed.data, problemAt }, problems: [] };
}

/** What each part allows and the whole does not. */
function contradictionsIn(
  { spec: { listeners, routes } }: GatewayManifest,
  problemAt: GatewayDocument["problemAt"],
): Problem[] {
  const addresses = new Map<string, number>();
  const targets = new Map<string, string>();
  return [
    ...listeners.flatMap(({ address, tls, redirectToHttpsPort }, place) => {
      const at = ["spec", "listeners", place];
      const first = addresses.get(address);
      if (first !== undefined && !address.endsWith(":0"))
        return [problemAt([...at, "address"], `written twice; the first is spec.listeners[${first}]`)];
      addresses.set(address, place);
      if (tls !== undefined && redirectToHttpsPort !== undefined)
        return [problemAt([...at, "redirectToHttpsPort"], "a listener with tls cannot redirect; remove one")];
      if (tls === undefined && redirectToHttpsPort === undefined && !isLoopback(address))
        return [
          problemAt(
            [...at, "address"],
            `plain HTTP is for loopback only; give ${address} certificates with tls, or redirectToHttpsPort`,
          ),
        ];
      return [];
    }),
    ...routes.flatMap(({ hosts, pathPrefix }, place) =>
      hosts.flatMap((host, at) => {
        const key = `${host} ${pathPrefix}`;
        const here = `spec.routes[${place}].hosts[${at}]`;
        const first = targets.get(key);
        targets.set(key, first ?? here);
        if (first === undefined) return [];
        const message = `second route for ${host}${pathPrefix}, after ${first}; a host and prefix have one`;
        return [problemAt(["spec", "routes", place, "hosts", at], message)];
      }),
    ),
  ];
}

function isAddress(address: string): boolean {
  const port = addressPattern.exec(address)?.groups?.["port"];
  return port !== undefined && Number(port) <= 65_535;
}

function isLoopback(address: string): boolean {
  return /^(?:127\.[0-9.]+|localhost|\[::1\]):/.test(address);
}

function count(): z.ZodOptional<z.ZodInt> {
  const expected = "expected a whole number of 1 or more";
  return z.int(expected).min(1, expected).max(1_000_000, "expected at most 1000000").optional();
}

function text(schema: z.ZodType, what: string): z.ZodString {
  const expected = `expected ${what}`;
  return z.string(expected).refine((value) => schema.safeParse(value).success, expected);
}
