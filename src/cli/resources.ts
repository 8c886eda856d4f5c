import { manifestsOf, nearestWord } from "../configuration/index.ts";
import { authorityOfServiceName, parseServiceName } from "../identity/index.ts";
import type { FollowerStatus, GetStatusResponse } from "../protocol/index.ts";
import { defaultTokenWindow, type TrustState } from "../trust-log/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import type { OperatorClient } from "./operator-client.ts";
import { proxyFigures, proxyStateOf } from "./proxy-state.ts";
import { systemClock } from "./system.ts";
import { trafficSummary } from "./traffic-words.ts";

/** What `troth get` and `troth describe` know: the log as this client has checked it, and what the mesh reports. */
export interface MeshFacts {
  readonly state: TrustState;
  readonly status: GetStatusResponse;
  readonly trustDomain: string;
  readonly nowSeconds: number;
}

/** An object in the form of the dialect; `status` is what the mesh says of it. */
export interface Resource {
  readonly apiVersion: "troth/v1";
  readonly kind: ResourceKind;
  readonly metadata: { readonly name: string };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status: Readonly<Record<string, unknown>>;
}

/** The kinds of objects that can be asked for, in the order of `troth get --help`. */
export const resourceKinds = [
  "Service",
  "AccessPolicy",
  "TrafficPolicy",
  "WorkloadEntry",
  "RequestTokenPolicy",
  "PrefixGrant",
  "Federation",
  "Instance",
  "Node",
  "Proxy",
  "Operator",
  "Certificate",
  "Grant",
] as const;

/** A kind that can be asked for. */
export type ResourceKind = (typeof resourceKinds)[number];

/** Reads a kind as people write it: `service`, `services`, `Service`, `policy`. Throws with what there is. */
export function requireResourceKind(text: string): ResourceKind {
  const word = text.toLowerCase();
  const found = resourceKinds.find((kind) => wordsFor(kind).includes(word));
  if (found !== undefined) return found;
  const words = resourceKinds.map((kind) => kind.toLowerCase());
  const nearest = nearestWord(word, words);
  const hint = nearest === undefined ? "" : ` (did you mean ${nearest}?)`;
  throw new CliError(exitCode.usage, `no kind "${text}"${hint}; there are: ${words.join(", ")}`);
}

/** Asks the mesh for everything that objects are made of. */
export async function gatherFacts(client: OperatorClient): Promise<MeshFacts> {
  const status = await client.admin.getStatus({});
  await client.refresh();
  return {
    state: client.state,
    status,
    trustDomain: client.domain.trustDomain,
    nowSeconds: systemClock.nowSeconds(),
  };
}

/** All objects of a kind, in the order of their names. */
export function resourcesOf(kind: ResourceKind, facts: MeshFacts): Resource[] {
  return builders[kind](facts).sort((left, right) => (left.metadata.name < right.metadata.name ? -1 : 1));
}

/** The objects of a kind with this name, or, for those with long names, whose name begins so. Throws where none is. */
export function requireResources(kind: ResourceKind, name: string, facts: MeshFacts): Resource[] {
  const all = resourcesOf(kind, facts);
  const wanted =
    name.startsWith("/") ||
    !/^(Service|AccessPolicy|TrafficPolicy|RequestTokenPolicy|PrefixGrant)$/.test(kind)
      ? name
      : `/${name}`;
  const exact = all.filter(({ metadata }) => metadata.name === wanted);
  if (exact.length > 0) return exact;
  const isByPrefix = kind === "Instance" || kind === "Proxy" || kind === "Certificate";
  const found = isByPrefix ? all.filter((one) => isMeant(one, name)) : [];
  if (found.length > 0) return found;
  const nearest = nearestWord(
    wanted,
    all.map(({ metadata }) => metadata.name),
  );
  const hint = nearest === undefined ? "" : ` (did you mean ${nearest}?)`;
  throw new CliError(exitCode.notFound, `no ${kind} ${wanted}${hint}; see: troth get ${kind.toLowerCase()}`);
}

/** The sizes and reports of all instances, by instance. */
export function followersOf({ status }: MeshFacts): ReadonlyMap<string, FollowerStatus> {
  return new Map(status.followers.map((follower) => [follower.instance, follower]));
}

function isMeant({ metadata, spec }: Resource, name: string): boolean {
  const service = name.startsWith("/") ? name : `/${name}`;
  return (
    (name.length >= prefixCharactersMin && metadata.name.startsWith(name)) || spec["service"] === service
  );
}

const prefixCharactersMin = 4;

function wordsFor(kind: ResourceKind): string[] {
  const word = kind.toLowerCase();
  if (kind === "AccessPolicy") return [word, "accesspolicies", "policy", "policies", "rule", "rules"];
  if (kind === "TrafficPolicy") return [word, "trafficpolicies", "traffic"];
  if (kind === "WorkloadEntry") return [word, "workloadentries", "workload", "workloads"];
  if (kind === "RequestTokenPolicy") return [word, "requesttokenpolicies"];
  if (kind === "PrefixGrant") return [word, "prefixgrants", "prefix", "prefixes"];
  return [word, kind === "Proxy" ? "proxies" : `${word}s`];
}

const builders: { readonly [Kind in ResourceKind]: (facts: MeshFacts) => Resource[] } = {
  Service: (facts) => {
    const instances = [...facts.state.instances.entries()];
    return manifestsOf(facts.state)
      .filter((manifest) => manifest.kind === "Service")
      .map(({ metadata, spec }) =>
        resource(
          "Service",
          metadata.name,
          { ...spec },
          {
            spiffeId: `spiffe://${facts.trustDomain}${metadata.name}`,
            authority: authorityOf(metadata.name),
            instances: instances.filter(([, { service }]) => service === metadata.name).length,
            serving: facts.status.followers.filter(
              ({ service, address }) => service === metadata.name && address !== "",
            ).length,
            callers: [...facts.state.rules.entries()]
              .filter(([, { to, effect }]) => to === metadata.name && effect === "allow")
              .map(([, { from }]) => from),
          },
        ),
      );
  },
  AccessPolicy: ({ state }) =>
    manifestsOf(state)
      .filter((manifest) => manifest.kind === "AccessPolicy")
      .map(({ metadata, spec }) =>
        resource(
          "AccessPolicy",
          metadata.name,
          { ...spec },
          {
            entries: spec.rules.map(({ from }) => ({
              from,
              index: state.rules.get(`${from} ${metadata.name}`)?.index ?? 0,
            })),
          },
        ),
      ),
  TrafficPolicy: ({ state }) =>
    manifestsOf(state)
      .filter((manifest) => manifest.kind === "TrafficPolicy")
      .map((manifest) => {
        const { metadata, spec } = manifest;
        const summary = trafficSummary(manifest);
        return resource("TrafficPolicy", metadata.name, { ...spec }, { summary });
      }),
  WorkloadEntry: ({ state, trustDomain }) =>
    manifestsOf(state)
      .filter((manifest) => manifest.kind === "WorkloadEntry")
      .map(({ metadata, spec }) =>
        resource(
          "WorkloadEntry",
          metadata.name,
          { ...spec },
          { spiffeId: `spiffe://${trustDomain}${spec.service}` },
        ),
      ),
  RequestTokenPolicy: ({ state }) =>
    manifestsOf(state)
      .filter((manifest) => manifest.kind === "RequestTokenPolicy")
      .map(({ metadata, spec }) => {
        const { pastSeconds, futureSeconds } = spec.window ?? defaultTokenWindow;
        return resource(
          "RequestTokenPolicy",
          metadata.name,
          { ...spec },
          { window: spec.mode === "off" ? "" : `${pastSeconds} s behind, ${futureSeconds} s ahead` },
        );
      }),
  PrefixGrant: ({ state }) =>
    manifestsOf(state)
      .filter((manifest) => manifest.kind === "PrefixGrant")
      .map(({ metadata, spec }) => {
        return resource(
          "PrefixGrant",
          metadata.name,
          { ...spec },
          { authority: authorityOf(metadata.name), handedOn: [...state.prefixes.partsOf(metadata.name)] },
        );
      }),
  Federation: ({ state }) =>
    manifestsOf(state)
      .filter((manifest) => manifest.kind === "Federation")
      .map(({ metadata, spec }) => {
        const hasBundle = state.federation.get(metadata.name)?.bundle !== undefined;
        return resource("Federation", metadata.name, { ...spec }, { hasBundle });
      }),
  Instance: (facts) => {
    const followers = followersOf(facts);
    return [...facts.state.instances.entries()].map(([name, row]) => {
      const follower = followers.get(name);
      const { service, node, auditKey, registeredAtSeconds } = row;
      return resource(
        "Instance",
        name,
        { service, node, auditKey },
        {
          registeredAtSeconds,
          isServing: follower !== undefined && follower.address !== "",
          isDraining: row.isDraining,
          standing: facts.state.standings.get(name)?.state ?? null,
          address: follower?.address ?? "",
          certificates: [...facts.state.certificates.entries()].filter(
            ([, { instance }]) => instance === name,
          ).length,
        },
      );
    });
  },
  Node: ({ state, status }) => {
    const reports = new Map(status.nodes.map((report) => [report.node, report]));
    return [...state.nodes.entries()].map(([name, { nodeKey }]) => {
      const report = reports.get(name);
      return resource(
        "Node",
        name,
        { nodeKey },
        {
          zone: state.zones.get(name)?.zone ?? "",
          isConnected: report?.isConnected ?? false,
          treeSize: Number(report?.size ?? 0),
          lastReportSecondsAgo: report?.lastReportSecondsAgo ?? null,
          clockAheadSeconds: report?.clockAheadSeconds ?? 0,
          instances: [...state.instances.entries()].filter(([, { node }]) => node === name).length,
        },
      );
    });
  },
  Proxy: (facts) => {
    const followers = followersOf(facts);
    const size = Number(facts.status.size);
    // What an agent keeps for a program without a sidecar has no proxy.
    const instances = [...facts.state.instances.entries()].filter(
      ([name]) => followers.get(name)?.role !== "workload",
    );
    return instances.map(([name, row]) => {
      const follower = followers.get(name);
      return resource(
        "Proxy",
        name,
        { service: row.service, node: row.node },
        {
          zone: facts.state.zones.get(row.node)?.zone ?? "",
          state: proxyStateOf(follower, size, row.isDraining),
          entriesBehind: Math.max(0, size - Number(follower?.size ?? 0)),
          stalenessSeconds: follower?.stalenessSeconds ?? null,
          ...proxyFigures(follower),
        },
      );
    });
  },
  Operator: ({ state }) =>
    [...state.authors.entries()]
      .filter(([, { role }]) => !["issuer", "sequencer", "server"].includes(role))
      .map(([name, { role, publicKey, sequence, isRemoved }]) =>
        resource("Operator", name, { role, publicKey }, { entries: sequence, isRemoved }),
      ),
  Certificate: ({ state, nowSeconds }) =>
    [...state.certificates.entries()].map(([name, { spiffeId, instance, serial, notAfterSeconds }]) =>
      resource(
        "Certificate",
        name,
        { spiffeId, instance, serial, service: state.instances.get(instance)?.service ?? "" },
        {
          notAfterSeconds,
          isExpired: notAfterSeconds < nowSeconds,
        },
      ),
    ),
  Grant: ({ state }) =>
    [...state.authority.entries()].map(([name, { role, signatures, approvals }]) => {
      const holders = [...state.authors.entries()].filter(([, row]) => row.role === role && !row.isRemoved);
      return resource(
        "Grant",
        name,
        { role, signatures, approvals },
        { holders: holders.map(([author]) => author) },
      );
    }),
};

function resource(
  kind: ResourceKind,
  name: string,
  spec: Readonly<Record<string, unknown>>,
  status: Readonly<Record<string, unknown>>,
): Resource {
  return { apiVersion: "troth/v1", kind, metadata: { name }, spec, status };
}

function authorityOf(name: string): string {
  const parsed = parseServiceName(name);
  return parsed.ok ? (authorityOfServiceName(parsed.value) ?? "") : "";
}
