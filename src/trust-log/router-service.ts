import type { TrustState } from "./trust-state.ts";

const roleLabel = "troth.role";
const routerRole = "router";

/** The label by which operators declare that the instances of a service are routers: it is never called itself. */
export const routerLabels: Readonly<Record<string, string>> = { [roleLabel]: routerRole };

/** Whether operators have declared that a service is carried out by routers, which take callers into their zone. */
export function isRouterService({ services }: Pick<TrustState, "services">, service: string): boolean {
  return services.get(service)?.labels[roleLabel] === routerRole;
}
