import * as prometheus from "prom-client";
import type { Clock } from "../base/clock.ts";
import { addGauge, addProcessMetrics } from "../telemetry/index.ts";
import type { IssuerRefusal } from "../transport/index.ts";
import { isEntryKind, parseEntry } from "../trust-log/index.ts";
import { alarmReasons } from "./follower-registry.ts";
import type { AppendRefusal } from "./log-writer.ts";

const appendBoundsSeconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
/** Istio's, of the same measure (pilot_proxy_convergence_time). */
const convergenceBoundsSeconds = [0.1, 0.5, 1, 3, 5, 10, 20, 30];
/** Reasons of alarms that nodes choose; what comes beyond is counted as {@link other}. Honest nodes use far fewer. */
const reasonsMax = 64;
const reasonPattern = /^[a-z][a-z0-9.-]{0,63}$/;
const other = "_OTHER";

/** What the writer of the trust log tells of its work. */
export interface LogObserver {
  /** An entry was ordered, or refused. */
  readonly entry: (
    outcome: { readonly kind: string } | { readonly refused: Uint8Array; readonly reason: AppendRefusal },
  ) => void;
  /** An append was acknowledged after so long. */
  readonly appended: (seconds: number) => void;
  readonly epochIssued: () => void;
}

/** How far followers are, by state. */
export type FollowerStates = Readonly<Record<"current" | "behind", number>>;

/** What the control plane counts. */
export interface ControlPlaneMetrics {
  readonly registry: prometheus.Registry;
  readonly observer: LogObserver;
  /** A follower has got further, after so long behind. */
  readonly converged: (seconds: number) => void;
  readonly alarm: (reason: string) => void;
  /** A question about request tokens was answered: with what, or why not. */
  readonly questionAnswered: (outcome: "keys" | "token" | IssuerRefusal) => void;
  /** Seconds since this process issued an epoch; undefined before the first. */
  readonly epochAgeSeconds: () => number | undefined;
}

/** Makes the metrics of a control plane. */
export function controlPlaneMetrics(clock: Clock): ControlPlaneMetrics {
  const registry = new prometheus.Registry();
  const registers = [registry];
  addProcessMetrics(prometheus, registry);
  const entries = new prometheus.Counter({
    name: "troth_control_plane_entries_total",
    help: "Entries submitted to the trust log, by kind and by what became of them.",
    labelNames: ["kind", "outcome"],
    registers,
  });
  const appends = new prometheus.Histogram({
    name: "troth_control_plane_append_duration_seconds",
    help: "From an append's arrival to its acknowledgement under a checkpoint.",
    buckets: appendBoundsSeconds,
    registers,
  });
  const epochs = new prometheus.Counter({
    name: "troth_control_plane_epochs_total",
    help: "Epochs issued by this process.",
    registers,
  });
  const alarms = new prometheus.Counter({
    name: "troth_control_plane_alarms_total",
    help: "What should not have happened, by reason.",
    labelNames: ["reason"],
    registers,
  });
  const convergenceSeconds = new prometheus.Histogram({
    name: "troth_config_convergence_seconds",
    help: "From a change of the trust log to a sidecar's word that it has it.",
    buckets: convergenceBoundsSeconds,
    registers,
  });
  const questions = new prometheus.Counter({
    name: "troth_control_plane_request_token_questions_total",
    help: "Questions to the issuer of request tokens, by what was given, or the reason why nothing was.",
    labelNames: ["outcome"],
    registers,
  });
  const reasons = new BoundedReasons();
  let epochMillis: number | undefined;
  return {
    registry,
    converged: (seconds) => convergenceSeconds.observe(seconds),
    questionAnswered: (outcome) => questions.inc({ outcome }),
    alarm: (reason) => alarms.inc({ reason: reasons.of(reason) }),
    epochAgeSeconds: () =>
      epochMillis === undefined ? undefined : (clock.monotonicMillis() - epochMillis) / 1000,
    observer: {
      entry: (outcome) =>
        "kind" in outcome
          ? entries.inc({ kind: outcome.kind, outcome: "ordered" })
          : entries.inc({ kind: claimedKind(outcome.refused), outcome: outcome.reason }),
      appended: (seconds) => appends.observe(seconds),
      epochIssued: () => {
        epochMillis = clock.monotonicMillis();
        epochs.inc();
      },
    },
  };
}

/** Adds what is counted when somebody asks. */
export function addMeshGauges(
  registry: prometheus.Registry,
  gauges: {
    readonly treeSize: () => number;
    readonly followers: () => FollowerStates;
    readonly nodes: () => number;
  },
): void {
  addGauge(prometheus, registry, {
    name: "troth_control_plane_tree_size",
    help: "How many entries of the trust log a checkpoint covers.",
    read: gauges.treeSize,
  });
  addGauge(prometheus, registry, {
    name: "troth_control_plane_connected_nodes",
    help: "Nodes whose agent has reported within some seconds.",
    read: gauges.nodes,
  });
  const followers: prometheus.Gauge = new prometheus.Gauge({
    name: "troth_control_plane_followers",
    help: "Sidecars by whether they have the whole trust log.",
    labelNames: ["state"],
    registers: [registry],
    collect: () => {
      for (const [state, count] of Object.entries(gauges.followers())) followers.set({ state }, count);
    },
  });
}

/** Keeps reasons few and plain, whoever chose them; those of the control plane itself always have their place. */
class BoundedReasons {
  readonly #known = new Set<string>(alarmReasons);

  of(value: string): string {
    if (this.#known.has(value)) return value;
    if (this.#known.size >= alarmReasons.length + reasonsMax || !reasonPattern.test(value)) return other;
    this.#known.add(value);
    return value;
  }
}

/** The kind of a refused entry, which anybody may have made up: only kinds that there are count. */
function claimedKind(entry: Uint8Array): string {
  const parsed = parseEntry(entry);
  return parsed.ok && isEntryKind(parsed.value.statement.kind) ? parsed.value.statement.kind : other;
}
