import type { Endpoint } from "../../protocol/index.ts";
import { isQuarantined, isRouterService, type TrustState } from "../../trust-log/index.ts";

/** What the trust log says of an endpoint. */
export interface InstanceFacts {
  /** Of its node; empty where nobody has said. */
  readonly zone: string;
  /** Whether it is no instance of an application's service, but takes callers into its zone. */
  readonly isRouter: boolean;
  /** Whether it has been decided that nothing new shall go there: it drains, or is in quarantine. */
  readonly isDraining: boolean;
  /** Whether others are to be preferred. */
  readonly isDegraded: boolean;
}

/** What the trust log says of an endpoint now. */
export function factsOf(state: TrustState, { service, instance }: Endpoint): InstanceFacts {
  return {
    zone: zoneOf(state, instance),
    isRouter: isRouterService(state, service),
    isDraining: state.instances.get(instance)?.isDraining === true || isQuarantined(state, instance),
    isDegraded: state.standings.get(instance)?.state === "degraded",
  };
}

/** The zone of the node that the log has an instance on; empty where nobody has said. */
export function zoneOf({ instances, zones }: TrustState, instance: string): string {
  const node = instances.get(instance)?.node;
  return node === undefined ? "" : (zones.get(node)?.zone ?? "");
}
