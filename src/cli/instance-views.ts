import type { FollowerStatus, InstanceFinding } from "../protocol/index.ts";
import {
  type InstanceState,
  instanceStateOf,
  type StandingRow,
  type TrustState,
} from "../trust-log/index.ts";
import { durationOf } from "./output.ts";
import { followersOf, type MeshFacts } from "./resources.ts";

/** An instance as people see it: its state and why, and how it does. Figures are of the last ten seconds. */
export interface InstanceView {
  readonly instance: string;
  readonly service: string;
  readonly node: string;
  readonly zone: string;
  readonly state: InstanceState;
  /** By epoch time; null where the state is seen and was not decided. */
  readonly sinceSeconds: number | null;
  /** One line for people. */
  readonly why: string;
  /** The decision in force, by the index of its entry, and whom it takes to end it; null for none. */
  readonly decision: Pick<StandingRow, "decision" | "liftedBy" | "reason" | "evidence"> | null;
  /** Empty where nothing is checked, or nothing was heard. */
  readonly health: string;
  readonly inFlight: number;
  readonly requestsPerSecond: number;
  readonly errorPercent: number;
  readonly p50Millis: number;
  readonly p90Millis: number;
  readonly p99Millis: number;
  /** Of one core; null where the application's processes cannot be seen. */
  readonly cpuPercent: number | null;
  readonly memoryBytes: number | null;
  /** What its callers have seen. */
  readonly callerRequests: number;
  readonly callerErrorPercent: number;
  /** The worst known vulnerability; null for none. */
  readonly vulnerability: { readonly id: string; readonly cvss: number } | null;
  /** A decision that the control plane has not made, and what was in the way; empty for none. */
  readonly withheld: string;
  /** When the last of its certificates ends; null where it has none. */
  readonly certificateNotAfterSeconds: number | null;
}

const windowSeconds = 10;

/** Every instance that the log names, or that is gone and in quarantine. */
export function instanceViews(facts: MeshFacts): InstanceView[] {
  const { state, status } = facts;
  const followers = followersOf(facts);
  const findings = new Map(status.findings.map((finding) => [finding.instance, finding]));
  const ends = certificateEnds(state);
  const gone = [...state.standings.entries()].map(([instance]) => instance);
  const all = new Set([...[...state.instances.entries()].map(([instance]) => instance), ...gone]);
  return [...all]
    .map((instance) =>
      viewOf(state, instance, {
        follower: followers.get(instance),
        finding: findings.get(instance),
        notAfterSeconds: ends.get(instance),
      }),
    )
    .sort((one, other) => (`${one.service} ${one.instance}` < `${other.service} ${other.instance}` ? -1 : 1));
}

/** The figures of a view in the cells of a table; `-` where nothing is known. */
export function instanceCells(view: InstanceView, nowSeconds: number): string[] {
  const { state, sinceSeconds, why, zone, vulnerability, certificateNotAfterSeconds: ends } = view;
  return [
    view.service === "" ? "-" : view.service,
    view.instance.slice(0, 8),
    state,
    sinceSeconds === null ? "-" : durationOf(Math.max(0, nowSeconds - sinceSeconds)),
    why === "" ? "-" : why,
    zone === "" ? "-" : zone,
    String(view.inFlight),
    view.requestsPerSecond.toFixed(1),
    `${view.p90Millis.toFixed(1)} ms`,
    errorText(view),
    vulnerability === null ? "-" : `${vulnerability.id} ${vulnerability.cvss.toFixed(1)}`,
    ends === null ? "none" : ends <= nowSeconds ? "ended" : `in ${durationOf(ends - nowSeconds)}`,
  ];
}

/** The headings of {@link instanceCells}. */
export const instanceHeadings = [
  "SERVICE",
  "INSTANCE",
  "STATE",
  "SINCE",
  "WHY",
  "ZONE",
  "IN FLIGHT",
  "RPS",
  "P90",
  "ERRORS",
  "CVE",
  "CERTIFICATE ENDS",
] as const;

function viewOf(
  state: TrustState,
  instance: string,
  {
    follower,
    finding,
    notAfterSeconds,
  }: {
    readonly follower: FollowerStatus | undefined;
    readonly finding: InstanceFinding | undefined;
    readonly notAfterSeconds: number | undefined;
  },
): InstanceView {
  const row = state.instances.get(instance);
  const standing = state.standings.get(instance);
  const resources = follower?.resources;
  const health = resources?.health ?? "";
  const isAdvertised = (follower?.address ?? "") !== "";
  const now = instanceStateOf(state, instance, { isAdvertised, isHealthy: health === "healthy" });
  const requests = resources?.requests ?? 0;
  const memoryBytes = Number(resources?.memoryBytes ?? 0);
  const decided = now === "degraded" || now === "quarantined" ? standing : undefined;
  return {
    instance,
    service: row?.service ?? "",
    node: row?.node ?? "",
    zone: state.zones.get(row?.node ?? "")?.zone ?? "",
    state: now,
    sinceSeconds: decided?.atSeconds ?? (now === "pending" ? (row?.registeredAtSeconds ?? null) : null),
    why: whyOf(now, standing, resources?.healthReason ?? ""),
    decision:
      standing === undefined
        ? null
        : {
            decision: standing.decision,
            liftedBy: standing.liftedBy,
            reason: standing.reason,
            evidence: standing.evidence,
          },
    health,
    inFlight: resources?.inFlight ?? 0,
    requestsPerSecond: requests / windowSeconds,
    errorPercent: percentOf(resources?.errors ?? 0, requests),
    p50Millis: resources?.p50Millis ?? 0,
    p90Millis: resources?.p90Millis ?? 0,
    p99Millis: resources?.p99Millis ?? 0,
    cpuPercent: memoryBytes === 0 ? null : (resources?.cpuPermille ?? 0) / 10,
    memoryBytes: memoryBytes === 0 ? null : memoryBytes,
    callerRequests: Number(finding?.callerRequests ?? 0),
    callerErrorPercent: percentOf(Number(finding?.callerFailures ?? 0), Number(finding?.callerRequests ?? 0)),
    vulnerability:
      finding === undefined || finding.vulnerability === ""
        ? null
        : { id: finding.vulnerability, cvss: finding.cvssTenths / 10 },
    withheld: finding?.withheld ?? "",
    certificateNotAfterSeconds: notAfterSeconds ?? null,
  };
}

function whyOf(now: InstanceState, standing: StandingRow | undefined, healthReason: string): string {
  if (standing !== undefined && (now === "degraded" || now === "quarantined")) {
    const who = standing.liftedBy === "operator" ? "an operator" : "the control plane";
    return `${standing.reason}, by ${who} (decision ${standing.decision})`;
  }
  switch (now) {
    case "pending":
      return "no certificate yet";
    case "authenticated":
      return healthReason === "" ? "nothing to call, or not yet" : `its application: ${healthReason}`;
    case "advertised":
      return "its proxy tells nothing of its health";
    case "draining":
      return "until it is resumed";
    default:
      return "";
  }
}

/** What the callers have seen, or, where none has called, what its own proxy says. */
function errorText({ callerRequests, callerErrorPercent, errorPercent }: InstanceView): string {
  return `${(callerRequests > 0 ? callerErrorPercent : errorPercent).toFixed(1)} %`;
}

function percentOf(part: number, whole: number): number {
  return whole === 0 ? 0 : (100 * part) / whole;
}

function certificateEnds(state: TrustState): ReadonlyMap<string, number> {
  const ends = new Map<string, number>();
  for (const [, { instance, notAfterSeconds }] of state.certificates.entries())
    ends.set(instance, Math.max(ends.get(instance) ?? 0, notAfterSeconds));
  return ends;
}
