import { create } from "@bufbuild/protobuf";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { messageOf } from "../base/mesh-error.ts";
import { type FollowerStatus, type InstanceFinding, InstanceFindingSchema } from "../protocol/index.ts";
import {
  type InstanceRow,
  isQuarantined,
  neededFor,
  revisionOf,
  type TrustState,
} from "../trust-log/index.ts";
import {
  type JudgedInstance,
  type OwnReport,
  StandingDecider,
  type StandingDecision,
  type StandingThresholds,
  standingThresholds,
} from "./decide-standings.ts";
import type { FollowerRegistry } from "./follower-registry.ts";
import type { LogWriter } from "./log-writer.ts";
import type { SeenByCaller } from "./observed-calls.ts";
import { PossibleCallers } from "./possible-callers.ts";
import type { VulnerabilityFeed } from "./vulnerability-feed.ts";

const lookMillis = 1_000;
/** The same decision is reported as withheld this often. */
const withheldAgainMillis = 60_000;
const judge = "instance.judge";

/** What deciding on instances takes. */
export interface StandingKeeping {
  readonly writer: LogWriter;
  readonly registry: FollowerRegistry;
  readonly feed: Pick<VulnerabilityFeed, "worstOf"> | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly decided: (standing: string, reason: string) => void;
  readonly withheld: (why: string) => void;
  readonly thresholds?: StandingThresholds | undefined;
}

interface Withheld {
  readonly text: string;
  readonly raisedMillis: number;
}

/** Looks at every instance once a second, and has what is decided of it written into the trust log. */
export class StandingKeeper implements AsyncDisposable {
  readonly #parts: StandingKeeping;
  readonly #decider: StandingDecider;
  readonly #possible = new PossibleCallers();
  readonly #timer: NodeJS.Timeout;
  #looking: Promise<void> | undefined;
  #withheld = new Map<string, Withheld>();

  constructor(parts: StandingKeeping) {
    this.#parts = parts;
    this.#decider = new StandingDecider(parts.thresholds);
    this.#timer = setInterval(() => {
      this.#looking ??= this.#look().finally(() => (this.#looking = undefined));
    }, lookMillis).unref();
  }

  /** What has been found out of instances, besides what stands in the log. */
  findings(): InstanceFinding[] {
    const { writer, feed, clock } = this.#parts;
    const now = clock.monotonicMillis();
    return [...writer.state.instances.entries()].map(([instance]) => {
      const seen = this.#callersOf(instance, now);
      const worst = feed?.worstOf(writer.state, instance);
      return create(InstanceFindingSchema, {
        instance,
        callerRequests: BigInt(seen.reduce((sum, { requests }) => sum + requests, 0)),
        callerFailures: BigInt(seen.reduce((sum, { failures }) => sum + failures, 0)),
        cvssTenths: worst?.cvssTenths ?? 0,
        vulnerability: worst?.id ?? "",
        withheld: this.#withheld.get(instance)?.text ?? "",
      });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { writer, clock, log } = this.#parts;
    // A domain founded before there was this kind has to grant it first.
    if (writer.isHalted || neededFor(writer.state, judge)?.role !== "issuer") return;
    try {
      const now = clock.monotonicMillis();
      const { made, withheld } = this.#decider.decide([...this.#judged(now)], now, writer.state.instances);
      const isTooEarly =
        made.length > 0 && this.#parts.registry.olderThan(revisionOf(judge), writer.state).length > 0;
      if (!isTooEarly) for (const decision of made) await this.#write(decision);
      const all = isTooEarly
        ? [...withheld, ...made.map((one) => ({ ...one, why: "older-followers" }))]
        : withheld;
      this.#note(all, now);
    } catch (error) {
      log.error("instances not judged", { error: messageOf(error) });
    }
  }

  *#judged(nowMillis: number): Generator<JudgedInstance> {
    const { writer, registry, feed } = this.#parts;
    const { state } = writer;
    for (const [instance, row] of state.instances.entries()) {
      const reported = registry.reportOf(instance);
      const known = state.standings.get(instance);
      const own = ownReportOf(reported, nowMillis);
      const isPartOfService =
        known !== undefined || own?.isHealthy === false || reported?.status.address !== "";
      // What has never been heard, or calls without serving, is no part of what its service can do.
      if (reported === undefined || !isPartOfService || isLeaving(row, state, instance)) continue;
      yield {
        instance,
        service: row.service,
        node: row.node,
        standing: known?.state ?? "serving",
        decision: known?.decision ?? 0,
        isPeoples: known?.liftedBy === "operator",
        own,
        callers: this.#callersOf(instance, nowMillis),
        cvssTenths: feed?.worstOf(state, instance).cvssTenths ?? 0,
      };
    }
  }

  /** What those have seen of an instance that may call it: who may not, or is cut off, sees nothing and may say anything. */
  #callersOf(instance: string, nowMillis: number): (SeenByCaller & { readonly node: string })[] {
    const { writer, registry } = this.#parts;
    const { state } = writer;
    const to = state.instances.get(instance)?.service;
    return registry.calls.of(instance, nowMillis).flatMap(({ caller, requests, failures }) => {
      const from = state.instances.get(caller);
      if (from === undefined || to === undefined || isQuarantined(state, caller)) return [];
      if (!this.#possible.mayCall(state, from.service, to)) return [];
      return [{ node: from.node, requests, failures }];
    });
  }

  async #write({ instance, standing, reason, evidence, decision }: StandingDecision): Promise<void> {
    const { writer, log, decided } = this.#parts;
    const body = { instance, standing, reason, evidence, decision };
    // What is wrong with one decision is no reason to leave out the others.
    try {
      const written = await writer.write([{ role: "issuer", kind: judge, body }]);
      if (!written.ok) {
        const { reason: refusal, detail } = written;
        log.warn("decision on an instance not taken", { instance, standing, reason: refusal, detail });
        return;
      }
      decided(standing, reason);
      log.warn("decision on an instance", { instance, standing, reason, ...evidence });
    } catch (error) {
      log.error("decision on an instance not written", { instance, standing, error: messageOf(error) });
    }
  }

  #note(all: readonly (Omit<StandingDecision, "decision"> & { readonly why: string })[], now: number): void {
    const { registry, writer, withheld: count } = this.#parts;
    const before = this.#withheld;
    this.#withheld = new Map();
    for (const { instance, standing, reason, why } of all) {
      const text = `${standing}, ${reason}: ${why}`;
      const known = before.get(instance);
      const isNews = known?.text !== text || now - known.raisedMillis >= withheldAgainMillis;
      this.#withheld.set(instance, { text, raisedMillis: isNews ? now : (known?.raisedMillis ?? now) });
      // A limit of the rate passes by itself.
      if (!isNews || why === "rate-limit") continue;
      count(why);
      const { service = "" } = writer.state.instances.get(instance) ?? {};
      registry.raise("/standings", "decision-withheld", `${service} ${instance}: ${text}`);
    }
  }
}

function isLeaving(row: InstanceRow, state: TrustState, instance: string): boolean {
  return row.isDraining && state.standings.get(instance)?.state !== "quarantined";
}

function ownReportOf(
  reported: { readonly status: FollowerStatus; readonly atMillis: number } | undefined,
  nowMillis: number,
): OwnReport | undefined {
  const resources = reported?.status.resources;
  if (reported === undefined || nowMillis - reported.atMillis > standingThresholds.reportSecondsMax * 1000)
    return undefined;
  const { health = "", requests = 0, errors = 0, p90Millis = 0 } = resources ?? {};
  return { isHealthy: health === "" ? undefined : health === "healthy", requests, errors, p90Millis };
}
