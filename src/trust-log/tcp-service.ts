import type { RuleRow, TrustState } from "./trust-state.ts";

/** Whether a service is called over TCP, by connections in which the mesh sees no requests. */
export function isTcpService({ traffic }: Pick<TrustState, "traffic">, service: string): boolean {
  return traffic.get(service)?.protocol === "tcp";
}

/** Whether a rule tells requests apart, by method or path; it cannot say anything of a TCP connection. */
export function speaksOfRequests({ methods, paths }: Pick<RuleRow, "methods" | "paths">): boolean {
  return methods.length > 0 || paths.length > 0;
}

/**
 * `FROM TO` of a rule for this very service that tells requests apart; undefined where there is none. Those for a
 * prefix and `/*` may mean other services and are left to the decision.
 */
export function requestRuleFor({ rules }: Pick<TrustState, "rules">, service: string): string | undefined {
  for (const [name, rule] of rules.entries()) if (rule.to === service && speaksOfRequests(rule)) return name;
  return undefined;
}
