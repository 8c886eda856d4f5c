import type { ReadinessCheck } from "../telemetry/index.ts";
import type { LogView } from "../transport/index.ts";
import type { OwnNode } from "./own-node.ts";

/** Three epochs: so long without one, and something is wrong between here and the control plane. */
const epochAgeSecondsMax = 30;

/** What an agent's readiness is read from. */
export interface AgentCondition {
  readonly view: LogView;
  readonly ownNode: OwnNode;
  /** Whether sidecars can find the agent. */
  readonly isServing: boolean;
}

/** What there must be before an agent can do its work. */
export function agentChecks(
  agent: AgentCondition,
  { address, socketPath }: { readonly address: string; readonly socketPath: string },
): readonly ReadinessCheck[] {
  const unless = (isSo: boolean, missing: string): string | undefined => (isSo ? undefined : missing);
  const age = (): number => Math.floor(agent.view.stalenessSeconds);
  return [
    {
      name: "trust-log",
      missing: () =>
        agent.view.standstill ??
        unless(agent.view.follower.hasCaughtUp, `nothing yet from the control plane at ${address}`),
    },
    {
      name: "freshness",
      missing: () =>
        unless(
          age() <= epochAgeSecondsMax,
          `no new epoch for ${age()} s; is the control plane at ${address} reachable?`,
        ),
    },
    { name: "node", missing: () => agent.ownNode.missing(agent.view.follower) },
    { name: "socket", missing: () => unless(agent.isServing, socketPath) },
  ];
}
