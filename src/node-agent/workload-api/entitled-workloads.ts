import type { TrustState, WorkloadRow } from "../../trust-log/index.ts";

/** An entry of the trust log by which callers on this node may obtain a service's identity. */
export interface WorkloadEntry {
  readonly name: string;
  readonly service: string;
  readonly selectors: readonly string[];
  readonly hint: string;
}

/** The entries that count on a node, by name: their service may run there, and neither it nor the node is held. */
export function workloadsOn(state: TrustState, node: string): WorkloadEntry[] {
  if (state.holds.has(`node:${node}`) || !state.nodes.has(node)) return [];
  return [...state.workloads.entries()]
    .filter(([, { service }]) => mayRun(state, service, node))
    .map(([name, row]) => entryOf(name, row))
    .sort((left, right) => (left.name < right.name ? -1 : 1));
}

/** The entries all of whose selectors a caller has. */
export function entitledTo(
  entries: readonly WorkloadEntry[],
  selectors: ReadonlySet<string>,
): WorkloadEntry[] {
  return entries.filter((entry) => entry.selectors.every((selector) => selectors.has(selector)));
}

function mayRun(state: TrustState, service: string, node: string): boolean {
  const nodes = state.services.get(service)?.nodes ?? [];
  return (nodes.includes("*") || nodes.includes(node)) && !state.holds.has(`service:${service}`);
}

function entryOf(name: string, { service, selectors, hint }: WorkloadRow): WorkloadEntry {
  return { name, service, selectors, hint };
}
