import { fail, ok, type Refusal } from "../base/result.ts";
import { type Applied, epochSeconds } from "./applied.ts";
import type { EntryBody } from "./entry-kinds.ts";
import type { StandingRow, TrustState } from "./trust-state.ts";

/** How long the quarantine of an instance that is gone keeps it from coming back under the same name. */
const quarantineKeptSecondsMax = 30 * 86_400;

/** Which entry decides, and whose it is. */
interface Decider {
  /** The index of the entry. */
  readonly decision: number;
  readonly by: StandingRow["liftedBy"];
}

type Standing = Omit<EntryBody<"instance.degrade">, "instance">;

/** Lets callers prefer all others to an instance that serves. */
export function degradeInstance(
  state: TrustState,
  { instance, ...standing }: EntryBody<"instance.degrade">,
  decider: Decider,
): Applied {
  const row = state.instances.get(instance);
  if (row === undefined) return fail("conflict", `no instance ${instance}`);
  const known = state.standings.get(instance);
  if (known?.state === "quarantined") return inQuarantine(known);
  if (row.isDraining) return fail("conflict", "draining: nothing new is sent to it anyway");
  return decide(state, instance, { state: "degraded", standing, decider });
}

/** Cuts an instance off, whatever it is in the middle of. */
export function quarantineInstance(
  state: TrustState,
  { instance, ...standing }: EntryBody<"instance.quarantine">,
  decider: Decider,
): Applied {
  if (!state.instances.has(instance)) return fail("conflict", `no instance ${instance}`);
  return decide(state, instance, { state: "quarantined", standing, decider });
}

/** Ends a decision, if it is the one in force and these may end it. The instance need not be there any more. */
export function releaseInstance(
  state: TrustState,
  { instance, decision }: EntryBody<"instance.release">,
  by: StandingRow["liftedBy"],
): Applied {
  const known = state.standings.get(instance);
  if (known === undefined) return fail("conflict", "neither degraded nor quarantined");
  if (known.decision !== decision)
    return fail("conflict", `decision ${known.decision} is in force, not ${decision}`);
  if (by === "control-plane" && known.liftedBy === "operator")
    return fail("conflict", `only an operator ends decision ${decision}`);
  state.standings.delete(instance);
  return ok(true);
}

/** A decision of the control plane's own, which counts only while the one that it was made upon is in force. */
export function applyJudgement(
  state: TrustState,
  { standing, decision: replaced, ...body }: EntryBody<"instance.judge">,
  { size: decision }: { readonly size: number },
): Applied {
  const decider = { decision, by: "control-plane" } as const;
  if (standing === "serving")
    return releaseInstance(state, { instance: body.instance, decision: replaced }, decider.by);
  const inForce = state.standings.get(body.instance)?.decision ?? 0;
  if (inForce !== replaced) return fail("conflict", `decision ${inForce} is in force, not ${replaced}`);
  return standing === "degraded"
    ? degradeInstance(state, body, decider)
    : quarantineInstance(state, body, decider);
}

/** Why nothing may be done for an instance in quarantine but its release or its revocation; undefined for others. */
export function quarantineProblem(state: TrustState, instance: string): Refusal<"conflict"> | undefined {
  const known = state.standings.get(instance);
  return known?.state === "quarantined" ? inQuarantine(known) : undefined;
}

/** Takes note that an instance is gone: only a quarantine outlives it. */
export function forgetStanding(state: TrustState, instance: string): void {
  if (state.standings.get(instance)?.state === "degraded") state.standings.delete(instance);
}

/** Forgets quarantines of instances that are long gone. */
export function expireStandings(state: TrustState, nowSeconds: number): void {
  for (const [instance, { atSeconds }] of state.standings.entries())
    if (!state.instances.has(instance) && atSeconds + quarantineKeptSecondsMax < nowSeconds)
      state.standings.delete(instance);
}

/** People may make a decision of the control plane theirs; nobody repeats what is decided already. */
function decide(
  state: TrustState,
  instance: string,
  made: { readonly state: StandingRow["state"]; readonly standing: Standing; readonly decider: Decider },
): Applied {
  const known = state.standings.get(instance);
  const { by, decision } = made.decider;
  const takesOver = by === "operator" && known?.liftedBy === "control-plane";
  if (known?.state === made.state && !takesOver)
    return fail("conflict", `${known.state} already by decision ${known.decision}`);
  state.standings.set(instance, {
    state: made.state,
    ...made.standing,
    decision,
    atSeconds: epochSeconds(state),
    // What people have degraded comes back to serving by people, whoever has quarantined it since.
    liftedBy: known?.liftedBy === "operator" ? "operator" : by,
  });
  return ok(true);
}

function inQuarantine({ decision }: StandingRow): Refusal<"conflict"> {
  return fail("conflict", `in quarantine by decision ${decision}; only its release or a revocation follows`);
}
