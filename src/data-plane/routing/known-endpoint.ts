import type { InstanceLink } from "../forwarding/index.ts";
import type { Member } from "./balancer.ts";

/** An endpoint with what is going on there. */
export interface KnownEndpoint {
  readonly service: string;
  readonly instance: string;
  readonly address: string;
  /** Where its node is; empty where nobody has said. */
  readonly zone: string;
  /** The router that the newest connection goes through, as service and instance; empty where through none. */
  readonly via: string;
  /** Whether it is one that takes callers into its zone, and is called by no application. */
  readonly isRouter: boolean;
  /** Whether it could not be reached a moment ago, so that others are preferred. */
  readonly isAvoided: boolean;
  /** Whether it has been decided that others are preferred (`instance.degrade`). */
  readonly isDegraded: boolean;
  /** `in`, `out` (ejected as an outlier), or on `probation` after that. */
  readonly standing: "in" | "out" | "probation";
  /** Why it was ejected last; empty where it never was. */
  readonly ejectedFor: string;
  /** For how long it is still out. */
  readonly ejectedSeconds: number;
  /** How often it was ejected lately; each time doubles the next. */
  readonly ejections: number;
  /** Requests of this proxy that are there or wait for a connection. */
  readonly inFlight: number;
  readonly openConnections: number;
  readonly idleConnections: number;
  readonly waitingRequests: number;
  /** What it says that it serves besides its service's own name, under a signature that was checked. */
  readonly prefixes: readonly string[];
  /** Of the request tokens that it says it checks; empty where it has not said so. */
  readonly audience: string;
}

/** What is known of how an instance does, for whoever asks. */
export function standingOf(
  { standing }: Member<InstanceLink>,
  now: number,
): Pick<KnownEndpoint, "standing" | "ejectedFor" | "ejectedSeconds" | "ejections"> {
  const { state, reason, untilMillis, ejections } = standing;
  const left = state === "out" ? Math.max(0, Math.ceil((untilMillis - now) / 1000)) : 0;
  return { standing: state, ejectedFor: reason ?? "", ejectedSeconds: left, ejections };
}
