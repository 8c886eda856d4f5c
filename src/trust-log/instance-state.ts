import type { TrustState } from "./trust-state.ts";

/**
 * Where an instance is in its life (S1): pending → authenticated → advertised → serving ⇄ degraded → draining →
 * withdrawn; from any quarantined, and back by a newer decision; revoked for good.
 */
export type InstanceState =
  | "pending"
  | "authenticated"
  | "advertised"
  | "serving"
  | "degraded"
  | "draining"
  | "withdrawn"
  | "quarantined"
  | "revoked";

/** What is seen of an instance and stands in no entry. */
export interface SeenInstance {
  /** Whether callers are told where it is. */
  readonly isAdvertised: boolean;
  /** Whether its proxy says that its application answers. */
  readonly isHealthy: boolean;
}

/** The state of an instance: what was decided counts before what is seen, and what cannot be undone before all. */
export function instanceStateOf(state: TrustState, instance: string, seen: SeenInstance): InstanceState {
  if (state.revocations.has(`instance:${instance}`)) return "revoked";
  const standing = state.standings.get(instance);
  if (standing?.state === "quarantined") return "quarantined";
  const row = state.instances.get(instance);
  if (row === undefined) return "withdrawn";
  if (row.isDraining) return "draining";
  if (!hasCertificate(state, instance)) return "pending";
  if (!seen.isAdvertised) return "authenticated";
  if (standing !== undefined) return "degraded";
  return seen.isHealthy ? "serving" : "advertised";
}

/** Whether an instance is in quarantine: it is called by nobody and calls nobody. */
export function isQuarantined(state: TrustState, instance: string): boolean {
  return state.standings.get(instance)?.state === "quarantined";
}

function hasCertificate(state: TrustState, instance: string): boolean {
  for (const [, row] of state.certificates.entries()) if (row.instance === instance) return true;
  return false;
}
