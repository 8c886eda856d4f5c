import { durationOf, momentOf, tableOf } from "./output.ts";
import type { MeshFacts, Resource, ResourceKind } from "./resources.ts";

/** A column: its heading, its cell, and whether only `-o wide` shows it. */
interface Column {
  readonly heading: string;
  readonly cell: (resource: Resource, facts: MeshFacts) => string;
  readonly isWide?: boolean;
}

/** Objects of one kind as a table, or the sentence that says how to get one. */
export function resourceTable(
  kind: ResourceKind,
  resources: readonly Resource[],
  { facts, isWide }: { readonly facts: MeshFacts; readonly isWide: boolean },
): string {
  if (resources.length === 0) return `${emptySentences[kind]}\n`;
  const columns = [
    nameColumn(kind, isWide),
    ...columnsOf[kind].filter((column) => isWide || column.isWide !== true),
  ];
  return tableOf(
    columns.map(({ heading }) => heading),
    resources.map((resource) => columns.map(({ cell }) => cell(resource, facts))),
  );
}

const emptySentences: { readonly [Kind in ResourceKind]: string } = {
  Service:
    "No service is registered. troth run --service NAME -- COMMAND registers one, and so does troth apply -f FILE.",
  AccessPolicy:
    "No rule is set, so nobody may call anybody. troth allow FROM TO sets one, and so does troth apply -f FILE.",
  TrafficPolicy:
    "No traffic policy is set: requests have no timeout and are not repeated. troth apply -f FILE sets one.",
  WorkloadEntry:
    "No workload entry is set: programs without a sidecar have no identity. troth apply -f FILE sets one.",
  RequestTokenPolicy:
    "No request token policy is set: requests carry no request tokens. troth apply -f FILE sets one.",
  PrefixGrant:
    "No service has more than its own name. troth prefix grant gives it a prefix, and so does troth apply -f FILE.",
  Federation:
    "No other trust domain is believed. troth federation add begins a federation, and so does troth apply -f FILE.",
  Instance: "No instance runs. troth run --service NAME -- COMMAND starts one.",
  Node: "No node has joined. troth up joins this machine; troth node invite NAME invites another.",
  Proxy: "No proxy runs. troth run --service NAME -- COMMAND starts one beside the application.",
  Operator: "No person has a key in this log.",
  Certificate:
    "No certificate is in force. A proxy gets one when it starts: troth run --service NAME -- COMMAND.",
  Grant: "No grant is in this log.",
};

const columnsOf: { readonly [Kind in ResourceKind]: readonly Column[] } = {
  Service: [
    {
      heading: "SERVING",
      cell: ({ status }) => `${cellText(status["serving"])}/${cellText(status["instances"])}`,
    },
    fromSpec("DATA CLASS", "dataClass"),
    fromSpec("TEAM", "team"),
    { heading: "CALLED AS", cell: ({ status }) => cellText(status["authority"]) },
    { heading: "MAY BE CALLED BY", cell: ({ status }) => cellText(status["callers"]) || "nobody" },
    { ...fromSpec("ENVIRONMENT", "environment"), isWide: true },
    { ...fromSpec("NODES", "nodes"), isWide: true },
    { ...fromSpec("LABELS", "labels"), isWide: true },
  ],
  AccessPolicy: [
    { heading: "ALLOWED", cell: (policy) => callers(policy, "allow") || "nobody" },
    { heading: "DENIED", cell: (policy) => callers(policy, "deny") },
    { heading: "ENTRIES", cell: ({ status }) => entries(status["entries"]), isWide: true },
  ],
  TrafficPolicy: [
    { heading: "PROTOCOL", cell: ({ spec }) => cellText(spec["protocol"]) },
    { heading: "POLICY", cell: ({ status }) => cellText(status["summary"]) || "nothing" },
  ],
  WorkloadEntry: [
    fromSpec("SERVICE", "service"),
    fromSpec("SELECTORS", "selectors"),
    { ...fromSpec("HINT", "hint"), isWide: true },
  ],
  RequestTokenPolicy: [
    fromSpec("MODE", "mode"),
    { heading: "WINDOW", cell: ({ status }) => cellText(status["window"]) },
  ],
  PrefixGrant: [
    fromSpec("HOLDER", "holder"),
    fromSpec("BELOW", "depth"),
    { heading: "HANDS ON", cell: ({ spec }) => (spec["mayDelegate"] === true ? "yes" : "no") },
    { heading: "CALLED AS", cell: ({ status }) => cellText(status["authority"]) },
    { heading: "UNTIL", cell: ({ spec }) => cellText(spec["notAfter"]) || "revoked" },
    { heading: "HANDED ON", cell: ({ status }) => cellText(status["handedOn"]), isWide: true },
  ],
  Federation: [
    fromSpec("PROFILE", "profile"),
    { heading: "BUNDLE", cell: ({ status }) => (status["hasBundle"] === true ? "known" : "not read yet") },
    fromSpec("URL", "url"),
    { ...fromSpec("ENDPOINT", "endpointSpiffeId"), isWide: true },
  ],
  Instance: [
    fromSpec("SERVICE", "service"),
    fromSpec("NODE", "node"),
    {
      heading: "STATUS",
      cell: ({ status }) =>
        cellText(status["standing"]) ||
        (status["isDraining"] === true
          ? "draining"
          : status["isServing"] === true
            ? "serving"
            : "client only"),
    },
    {
      heading: "AGE",
      cell: ({ status }, { nowSeconds }) => durationOf(nowSeconds - number(status["registeredAtSeconds"])),
    },
    { heading: "ADDRESS", cell: ({ status }) => cellText(status["address"]), isWide: true },
    { heading: "CERTIFICATES", cell: ({ status }) => cellText(status["certificates"]), isWide: true },
  ],
  Node: [
    { heading: "STATUS", cell: ({ status }) => (status["isConnected"] === true ? "connected" : "silent") },
    { heading: "ZONE", cell: ({ status }) => cellText(status["zone"]) || "-" },
    { heading: "SIZE", cell: ({ status }) => cellText(status["treeSize"]) },
    { heading: "INSTANCES", cell: ({ status }) => cellText(status["instances"]) },
    {
      heading: "LAST REPORT",
      cell: ({ status }) =>
        status["lastReportSecondsAgo"] === null
          ? "never"
          : `${durationOf(number(status["lastReportSecondsAgo"]))} ago`,
    },
    {
      heading: "CLOCK AHEAD",
      cell: ({ status }) => `${number(status["clockAheadSeconds"]).toFixed(1)} s`,
      isWide: true,
    },
    { ...fromSpec("KEY", "nodeKey"), isWide: true },
  ],
  Proxy: [
    fromSpec("SERVICE", "service"),
    { heading: "ROLE", cell: ({ status }) => cellText(status["role"]) },
    fromSpec("NODE", "node"),
    { heading: "STATUS", cell: ({ status }) => cellText(status["state"]).toUpperCase() },
    { heading: "SIZE", cell: ({ status }) => cellText(status["treeSize"]) },
    { heading: "ADMIN", cell: ({ status }) => cellText(status["adminAddress"]), isWide: true },
    { heading: "OUTBOUND", cell: ({ status }) => cellText(status["outboundAddress"]), isWide: true },
  ],
  Operator: [
    fromSpec("ROLE", "role"),
    { heading: "STATUS", cell: ({ status }) => (status["isRemoved"] === true ? "removed" : "active") },
    { heading: "ENTRIES", cell: ({ status }) => cellText(status["entries"]) },
    { ...fromSpec("KEY", "publicKey"), isWide: true },
  ],
  Certificate: [
    fromSpec("SPIFFE ID", "spiffeId"),
    { heading: "INSTANCE", cell: ({ spec }) => cellText(spec["instance"]).slice(0, 8) },
    {
      heading: "ENDS IN",
      cell: ({ status }, { nowSeconds }) =>
        status["isExpired"] === true ? "expired" : durationOf(number(status["notAfterSeconds"]) - nowSeconds),
    },
    { heading: "NOT AFTER", cell: ({ status }) => momentOf(number(status["notAfterSeconds"])), isWide: true },
    { ...fromSpec("SERIAL", "serial"), isWide: true },
  ],
  Grant: [
    fromSpec("ROLE", "role"),
    fromSpec("SIGNATURES", "signatures"),
    fromSpec("APPROVALS", "approvals"),
    { heading: "HOLDERS", cell: ({ status }) => cellText(status["holders"]), isWide: true },
  ],
};

/** Long names are cut to what `describe` takes again. */
function nameColumn(kind: ResourceKind, isWide: boolean): Column {
  const isLong = kind === "Instance" || kind === "Proxy" || kind === "Certificate";
  return {
    heading: kind === "Grant" ? "ENTRY KIND" : "NAME",
    cell: ({ metadata }) =>
      isLong && !isWide ? metadata.name.slice(0, 12).replace(/-$/, "") : metadata.name,
  };
}

function fromSpec(heading: string, field: string): Column {
  return { heading, cell: ({ spec }) => cellText(spec[field]) };
}

function callers({ spec }: Resource, effect: string): string {
  const rules: readonly unknown[] = Array.isArray(spec["rules"]) ? spec["rules"] : [];
  return rules
    .flatMap((rule) => {
      const { from, methods, paths, effect: its } = members(rule);
      if (its !== effect) return [];
      const narrowed = [cellText(methods), cellText(paths)].filter((part) => part !== "").join(" ");
      return [`${cellText(from)}${narrowed === "" ? "" : ` (${narrowed})`}`];
    })
    .join(", ");
}

function entries(value: unknown): string {
  const all: readonly unknown[] = Array.isArray(value) ? value : [];
  return all.map((one) => cellText(members(one)["index"])).join(", ");
}

/** A value in a cell: lists and labels with commas, nothing as nothing. */
export function cellText(value: unknown): string {
  if (Array.isArray(value)) return value.map(cellText).join(", ");
  if (typeof value === "object" && value !== null)
    return Object.entries(value)
      .map(([key, one]) => `${key}=${cellText(one)}`)
      .join(", ");
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? String(value)
    : "";
}

function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

function members(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}
