import { canonicalJson, type JsonObject } from "../base/canonical-json.ts";
import { isTcpService, type RuleRow, type ServiceRow, type TrustState } from "../trust-log/index.ts";
import {
  type AccessPolicyManifest,
  type Manifest,
  type ManifestKind,
  type ServiceManifest,
} from "./dialect.ts";
import { dialectVersion } from "./dialect-text.ts";
import {
  type FederationManifest,
  federationEntries,
  federationOf,
  orderedFederation,
  withoutKnownBundle,
} from "./federation-manifest.ts";
import { type PrefixGrantManifest, prefixGrantBody, prefixGrantOf } from "./prefix-grant-manifest.ts";
import { type RequestTokenPolicyManifest, requestTokenManifestOf } from "./request-token-policy.ts";
import {
  isSameTraffic,
  orderedTraffic,
  type TrafficPolicyManifest,
  trafficPolicyOf,
} from "./traffic-policy.ts";
import { orderedEntry, type WorkloadEntryManifest, workloadEntryOf } from "./workload-entry.ts";

/** The part of the public state that the dialect describes. */
export type DescribedState = Pick<
  TrustState,
  "services" | "rules" | "traffic" | "workloads" | "requestTokens" | "prefixes" | "federation" | "remotes"
>;

/** What becomes of an object. */
export type ChangeOutcome = "created" | "changed" | "unchanged" | "removed";

/** An entry to be signed. */
export interface PlannedEntry {
  readonly kind:
    | "service.put"
    | "service.remove"
    | "rule.put"
    | "rule.remove"
    | "foreignrule.put"
    | "foreignrule.remove"
    | "traffic.put"
    | "traffic.remove"
    | "workload.put"
    | "workload.remove"
    | "requesttoken.put"
    | "requesttoken.remove"
    | "prefix.grant"
    | "prefix.withdraw"
    | "federation.put"
    | "federation.remove"
    | "remote.put"
    | "remote.remove";
  readonly body: JsonObject;
}

/** What it takes to give one object the wanted form, with the object before and after; undefined where there is none. */
export interface PlannedChange {
  readonly kind: ManifestKind;
  readonly name: string;
  readonly outcome: ChangeOutcome;
  readonly entries: readonly PlannedEntry[];
  readonly before: Manifest | undefined;
  readonly after: Manifest | undefined;
}

/** The fewest entries after which the state is what the manifests say; what they do not name stays as it is. */
export function planChanges(state: DescribedState, manifests: readonly Manifest[]): PlannedChange[] {
  const turns = [0, 1, 2, 3] as const;
  const inTurn = turns.flatMap((turn) => manifests.filter((manifest) => turnOf(state, manifest) === turn));
  return inTurn.map((manifest) => planChange(state, ordered(manifest)));
}

/**
 * When an object's entries come: services and federations before what speaks of them; rules, which can tell requests apart only where
 * there are any, after the declaration that a service is no longer called over TCP, and before the one that it is.
 */
function turnOf(state: DescribedState, { kind, metadata, spec }: Manifest): 0 | 1 | 2 | 3 {
  if (kind === "Service" || kind === "Federation") return 0;
  if (kind !== "TrafficPolicy") return 2;
  if (spec.protocol === "tcp") return 3;
  return isTcpService(state, metadata.name) ? 1 : 2;
}

/** The entries that remove an object; undefined where there is none of this name. */
export function planRemoval(
  state: DescribedState,
  kind: ManifestKind,
  name: string,
): PlannedChange | undefined {
  const before = currentManifest(state, kind, name);
  if (before === undefined) return undefined;
  return { kind, name, outcome: "removed", entries: removalOf(before), before, after: undefined };
}

function removalOf(before: Manifest): PlannedEntry[] {
  const { name } = before.metadata;
  switch (before.kind) {
    case "Service":
      return [{ kind: "service.remove", body: { name } }];
    case "AccessPolicy":
      return removals(before, new Set());
    case "TrafficPolicy":
      return [{ kind: "traffic.remove", body: { service: name } }];
    case "WorkloadEntry":
      return [{ kind: "workload.remove", body: { name } }];
    case "RequestTokenPolicy":
      return [{ kind: "requesttoken.remove", body: { to: name } }];
    case "PrefixGrant":
      return [{ kind: "prefix.withdraw", body: { prefix: name } }];
    case "Federation":
      return [{ kind: "federation.remove", body: { trustDomain: name } }];
  }
}

/** Everything in the state that the dialect can say, services first, each in the order of names. */
export function manifestsOf(state: DescribedState): Manifest[] {
  const services = [...state.services.entries()].map(([name, row]) => serviceOf(name, row));
  const byDestination = Map.groupBy(
    [...state.rules.entries()].map(([, row]) => row),
    ({ to }) => to,
  );
  const policies = [...byDestination].map(([to, rows]) => policyOf(to, rows));
  const traffic = [...state.traffic.entries()].map(([name, row]) => trafficPolicyOf(name, row));
  const workloads = [...state.workloads.entries()].map(([name, row]) => workloadEntryOf(name, row));
  const tokens = [...state.requestTokens.entries()].map(([name, row]) => requestTokenManifestOf(name, row));
  const prefixes = [...state.prefixes.entries()].flatMap(([name, row]) => prefixGrantOf(name, row) ?? []);
  const federations = [...state.federation.entries()].flatMap(([name]) => federationOf(state, name) ?? []);
  return [
    ...services.sort(byName),
    ...policies.sort(byName),
    ...traffic.sort(byName),
    ...workloads.sort(byName),
    ...tokens.sort(byName),
    ...prefixes.sort(byName),
    ...federations.sort(byName),
  ];
}

/** The object of this name as the state has it. */
function currentManifest(state: DescribedState, kind: ManifestKind, name: string): Manifest | undefined {
  if (kind === "Service") {
    const row = state.services.get(name);
    return row === undefined ? undefined : serviceOf(name, row);
  }
  if (kind === "TrafficPolicy") {
    const row = state.traffic.get(name);
    return row === undefined ? undefined : trafficPolicyOf(name, row);
  }
  if (kind === "WorkloadEntry") {
    const row = state.workloads.get(name);
    return row === undefined ? undefined : workloadEntryOf(name, row);
  }
  if (kind === "RequestTokenPolicy") {
    const row = state.requestTokens.get(name);
    return row === undefined ? undefined : requestTokenManifestOf(name, row);
  }
  if (kind === "PrefixGrant") return prefixGrantOf(name, state.prefixes.get(name));
  if (kind === "Federation") return federationOf(state, name);
  const rows = [...state.rules.entries()].map(([, row]) => row).filter(({ to }) => to === name);
  return rows.length === 0 ? undefined : policyOf(name, rows);
}

function planChange(state: DescribedState, wanted: Manifest): PlannedChange {
  const after = wanted.kind === "Federation" ? withoutKnownBundle(state, wanted) : wanted;
  const { kind, metadata } = after;
  const before = currentManifest(state, kind, metadata.name);
  const entries = after.kind === "Federation" ? federationEntries(state, after) : entriesFor(before, after);
  const common = { kind, name: metadata.name, entries, before };
  if (after.kind === "AccessPolicy" && after.spec.rules.length === 0)
    return { ...common, outcome: before === undefined ? "unchanged" : "removed", after: undefined };
  const changed = before === undefined ? "created" : "changed";
  return { ...common, outcome: entries.length === 0 ? "unchanged" : changed, after };
}

function entriesFor(
  before: Manifest | undefined,
  after: Exclude<Manifest, FederationManifest>,
): PlannedEntry[] {
  switch (after.kind) {
    case "Service":
      return serviceEntries(before, after);
    case "AccessPolicy":
      return ruleEntries(before, after);
    case "TrafficPolicy":
      return trafficEntries(before, after);
    case "WorkloadEntry":
      return workloadEntries(before, after);
    case "RequestTokenPolicy":
      return requestTokenEntries(before, after);
    case "PrefixGrant":
      return prefixEntries(before, after);
  }
}

function trafficEntries(before: Manifest | undefined, after: TrafficPolicyManifest): PlannedEntry[] {
  if (before?.kind === "TrafficPolicy" && isSameTraffic(before, after)) return [];
  return [{ kind: "traffic.put", body: { service: after.metadata.name, ...after.spec } }];
}

function workloadEntries(before: Manifest | undefined, after: WorkloadEntryManifest): PlannedEntry[] {
  if (before !== undefined && canonicalJson(before.spec) === canonicalJson(after.spec)) return [];
  return [{ kind: "workload.put", body: { name: after.metadata.name, ...after.spec } }];
}

function requestTokenEntries(
  before: Manifest | undefined,
  { metadata, spec }: RequestTokenPolicyManifest,
): PlannedEntry[] {
  if (before !== undefined && canonicalJson(before.spec) === canonicalJson(spec)) return [];
  return [{ kind: "requesttoken.put", body: { to: metadata.name, ...spec } }];
}

/** To another service it is granted once it has been taken from the one before. */
function prefixEntries(before: Manifest | undefined, after: PrefixGrantManifest): PlannedEntry[] {
  if (before !== undefined && canonicalJson(before.spec) === canonicalJson(after.spec)) return [];
  const grant: PlannedEntry = { kind: "prefix.grant", body: prefixGrantBody(after) };
  const moves = before?.kind === "PrefixGrant" && before.spec.holder !== after.spec.holder;
  return moves ? [{ kind: "prefix.withdraw", body: { prefix: after.metadata.name } }, grant] : [grant];
}

function serviceEntries(before: Manifest | undefined, { metadata, spec }: ServiceManifest): PlannedEntry[] {
  if (before !== undefined && canonicalJson(before.spec) === canonicalJson(spec)) return [];
  return [{ kind: "service.put", body: { name: metadata.name, ...spec } }];
}

function ruleEntries(before: Manifest | undefined, after: AccessPolicyManifest): PlannedEntry[] {
  const known = before?.kind === "AccessPolicy" ? before.spec.rules : [];
  const same = new Set(known.map((rule) => canonicalJson(rule)));
  const to = after.metadata.name;
  const puts = after.spec.rules
    .filter((rule) => !same.has(canonicalJson(rule)))
    .map((rule): PlannedEntry => {
      const kind = isForeign(rule.from) ? "foreignrule.put" : "rule.put";
      return { kind, body: { ...rule, to } };
    });
  const kept = new Set(after.spec.rules.map(({ from }) => from));
  return [...puts, ...(before?.kind === "AccessPolicy" ? removals(before, kept) : [])];
}

function removals({ metadata, spec }: AccessPolicyManifest, kept: ReadonlySet<string>): PlannedEntry[] {
  return spec.rules
    .filter(({ from }) => !kept.has(from))
    .map(({ from }) => {
      const kind = isForeign(from) ? "foreignrule.remove" : "rule.remove";
      return { kind, body: { from, to: metadata.name } };
    });
}

/** Whether a caller is of another trust domain. */
function isForeign(from: string): boolean {
  return from.startsWith("spiffe://");
}

function serviceOf(
  name: string,
  { nodes, dataClass, team, environment, labels }: ServiceRow,
): ServiceManifest {
  const spec = { nodes: [...nodes], dataClass, team, environment, labels: { ...labels } };
  return orderedService({ apiVersion: dialectVersion, kind: "Service", metadata: { name }, spec });
}

function policyOf(to: string, rows: readonly RuleRow[]): AccessPolicyManifest {
  const rules = rows.map(({ from, effect, methods, paths }) => ({
    from,
    effect,
    methods: [...methods],
    paths: [...paths],
  }));
  return orderedPolicy({
    apiVersion: dialectVersion,
    kind: "AccessPolicy",
    metadata: { name: to },
    spec: { rules },
  });
}

/** The one form of all manifests that mean the same: what is a set is in order and holds nothing twice. */
function ordered(manifest: Manifest): Manifest {
  switch (manifest.kind) {
    case "Service":
      return orderedService(manifest);
    case "AccessPolicy":
      return orderedPolicy(manifest);
    case "TrafficPolicy":
      return orderedTraffic(manifest);
    case "WorkloadEntry":
      return orderedEntry(manifest);
    case "RequestTokenPolicy":
    case "PrefixGrant":
      return manifest;
    case "Federation":
      return orderedFederation(manifest);
  }
}

function orderedService(manifest: ServiceManifest): ServiceManifest {
  const { nodes, dataClass, team, environment, labels } = manifest.spec;
  const inOrder = Object.entries(labels).sort(([left], [right]) => (left < right ? -1 : 1));
  const spec = { nodes: asSet(nodes), dataClass, team, environment, labels: Object.fromEntries(inOrder) };
  return { ...manifest, spec };
}

function orderedPolicy(manifest: AccessPolicyManifest): AccessPolicyManifest {
  const rules = manifest.spec.rules
    .map(({ from, effect, methods, paths }) => ({
      from,
      effect,
      methods: asSet(methods),
      paths: asSet(paths),
    }))
    .sort((left, right) => (left.from < right.from ? -1 : 1));
  return { ...manifest, spec: { rules } };
}

function asSet(words: readonly string[]): string[] {
  return [...new Set(words)].sort();
}

function byName(left: Manifest, right: Manifest): number {
  return left.metadata.name < right.metadata.name ? -1 : 1;
}
