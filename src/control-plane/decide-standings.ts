import type { SeenByCaller } from "./observed-calls.ts";

/** By what the control plane decides of instances; every number of it is in docs/guides/instance-states.md. */
export const standingThresholds = {
  /** A caller that has sent fewer requests within the window has seen nothing. */
  callerRequestsMin: 20,
  /** The same where the instance is degraded already, and so is called seldom. */
  degradedRequestsMin: 5,
  /** So many of a thousand requests fail: it is failing; it fails nearly always; it is well again. */
  failingPermilleMin: 500,
  brokenPermilleMin: 900,
  wellPermilleMax: 100,
  failingDegradeSeconds: 5,
  brokenQuarantineSeconds: 30,
  /** For so long it may go without enough calls to tell, as one that is degraded does at times, and be nearly always failing still. */
  untoldSecondsMax: 15,
  /** The health check fails for so long, or has changed its mind so often within two minutes. */
  unhealthyDegradeSeconds: 20,
  healthChangesMax: 6,
  /** So many times slower at its 90th percentile than the median of its service's others, and than this at least. */
  slowTimes: 5,
  slowMillisMin: 100,
  slowDegradeSeconds: 20,
  /** Base scores of CVSS in tenths. */
  cvssDegradeTenthsMin: 70,
  cvssQuarantineTenthsMin: 90,
  /** How long a cause must have gone before a decision is taken back; twice as long each time, up to the longest. */
  restoreSeconds: 30,
  releaseSeconds: 60,
  restoreSecondsMax: 1_800,
  /** A report of its own proxy that is older says nothing. */
  reportSecondsMax: 30,
  /** At most so many of a thousand instances of a service are degraded or quarantined, by whomever; and quarantined. */
  notServingPermilleMax: 500,
  quarantinedPermilleMax: 334,
  /** Decisions against instances: of one service not sooner after the last; of one node, and of all, so many a minute. */
  serviceSecondsMin: 5,
  nodeDecisionsPerMinuteMax: 10,
  decisionsPerMinuteMax: 30,
} as const;

/** The names and numbers of {@link standingThresholds}. */
export type StandingThresholds = { readonly [Name in keyof typeof standingThresholds]: number };

/** What is known of an instance when it is judged. */
export interface JudgedInstance {
  readonly instance: string;
  readonly service: string;
  /** Where it runs. */
  readonly node: string;
  readonly standing: "serving" | "degraded" | "quarantined";
  /** The decision in force; 0 for none. */
  readonly decision: number;
  /** Whether only people may take that decision back. */
  readonly isPeoples: boolean;
  /** What its own proxy last said; undefined where that is too old, or was never heard. */
  readonly own: OwnReport | undefined;
  /** What callers have seen, and where they run. */
  readonly callers: readonly (SeenByCaller & { readonly node: string })[];
  /** The worst known vulnerability; 0 for none. */
  readonly cvssTenths: number;
}

/** What an instance's own proxy says of it. */
export interface OwnReport {
  /** Undefined where it checks nothing. */
  readonly isHealthy: boolean | undefined;
  readonly requests: number;
  readonly errors: number;
  readonly p90Millis: number;
}

/** Why an instance is degraded or quarantined; `recovered` takes either back. */
export type StandingCause = "failing" | "unhealthy" | "flapping" | "slow" | "vulnerable" | "recovered";

/** A decision of the control plane's. */
export interface StandingDecision {
  readonly instance: string;
  readonly standing: "serving" | "degraded" | "quarantined";
  readonly reason: StandingCause;
  readonly evidence: Readonly<Record<string, number>>;
  /** The decision that it replaces. */
  readonly decision: number;
}

/** A decision that would have been made, and what was in the way. */
export interface WithheldDecision extends StandingDecision {
  readonly why: "share-limit" | "rate-limit";
}

interface Wanted {
  readonly standing: "degraded" | "quarantined";
  readonly reason: Exclude<StandingCause, "recovered">;
  readonly evidence: Readonly<Record<string, number>>;
}

/** What the instances of a service have in common. */
interface At {
  readonly nowMillis: number;
  readonly median: number;
  readonly failing: readonly { readonly instance: string; readonly permille: number }[];
}

/** What is remembered of an instance between two looks. */
interface Memory {
  /** When it last served, or stood in a decision. */
  lookedMillis: number;
  /** Since when each cause has been there without a break. */
  readonly since: Map<string, number>;
  /** Since when there has been none. */
  wellSinceMillis: number | undefined;
  /** When there was last enough to tell whether it is broken. */
  toldMillis: number;
  isHealthy: boolean | undefined;
  healthChanges: number[];
  /** How often it was degraded or quarantined; forgotten after long being well. */
  times: number;
}

/**
 * Decides which instances are degraded, quarantined and taken back. Nothing but arguments goes in, the time included. A
 * cause must last before it counts, and be gone for longer before it is forgotten; and whatever is reported, most of a
 * service goes on serving: who is in doubt does not cut everybody off.
 */
export class StandingDecider {
  readonly #thresholds: StandingThresholds;
  readonly #memories = new Map<string, Memory>();
  readonly #lastOfService = new Map<string, number>();
  #decided: { readonly atMillis: number; readonly node: string }[] = [];

  constructor(thresholds: StandingThresholds = standingThresholds) {
    this.#thresholds = thresholds;
  }

  /** Looks at all instances, once a second or so; what was seen of one is remembered for as long as it is `registered`. */
  decide(
    instances: readonly JudgedInstance[],
    nowMillis: number,
    registered: { readonly has: (instance: string) => boolean },
  ): { readonly made: readonly StandingDecision[]; readonly withheld: readonly WithheldDecision[] } {
    const made: StandingDecision[] = [];
    const withheld: WithheldDecision[] = [];
    this.#forgetGone(registered, nowMillis);
    for (const [service, members] of Map.groupBy(instances, (one) => one.service)) {
      const at = { median: medianP90(members), nowMillis, failing: failingOf(members, this.#thresholds) };
      const shares = new Shares(members, this.#thresholds);
      for (const one of members) {
        const memory = this.#memoryOf(one.instance, nowMillis);
        const wanted = this.#wantedOf(one, memory, at);
        if (wanted === undefined || rank(wanted.standing) <= rank(one.standing)) {
          const back = this.#takenBack(one, memory, { isWell: wanted === undefined, nowMillis });
          if (back !== undefined) made.push(back);
          continue;
        }
        const decision = { instance: one.instance, decision: one.decision, ...wanted };
        const [standing, why] = this.#allowed(one, wanted.standing, { shares, nowMillis });
        if (why !== undefined) withheld.push({ ...decision, why });
        if (standing === undefined) continue;
        shares.take(one, standing);
        this.#lastOfService.set(service, nowMillis);
        this.#decided.push({ atMillis: nowMillis, node: one.node });
        memory.times += 1;
        made.push({ ...decision, standing });
      }
    }
    return { made, withheld };
  }

  /** How far an instance may go: where it may not be cut off, others are at least preferred. And why not all the way. */
  #allowed(
    one: JudgedInstance,
    standing: Wanted["standing"],
    of: { readonly shares: Shares; readonly nowMillis: number },
  ): readonly [Wanted["standing"] | undefined, WithheldDecision["why"] | undefined] {
    const why = of.shares.refuses(one, standing) ?? this.#rateRefuses(one, of.nowMillis);
    if (why === undefined) return [standing, undefined];
    const isSecondBest = why === "share-limit" && standing === "quarantined" && one.standing === "serving";
    if (!isSecondBest) return [undefined, why];
    const [least] = this.#allowed(one, "degraded", of);
    return [least, why];
  }

  /** The worst that the causes of now ask for, each once it has lasted. */
  #wantedOf(one: JudgedInstance, memory: Memory, at: At): Wanted | undefined {
    const causes = this.#causesOf(one, memory, at);
    const untoldMillis = at.nowMillis - memory.toldMillis;
    const isUntold = untoldMillis > 0 && untoldMillis <= this.#thresholds.untoldSecondsMax * 1000;
    for (const name of memory.since.keys()) {
      const isOver = !(name === "broken" && isUntold && one.standing === "degraded");
      if (!causes.has(name) && isOver) memory.since.delete(name);
    }
    let worst: Wanted | undefined;
    for (const [name, { afterSeconds, ...wanted }] of causes) {
      const since = memory.since.get(name) ?? at.nowMillis;
      memory.since.set(name, since);
      if (at.nowMillis - since < afterSeconds * 1000) continue;
      if (worst === undefined || rank(wanted.standing) > rank(worst.standing)) worst = wanted;
    }
    // Not over yet, only not long enough to count.
    if (causes.size > 0) memory.wellSinceMillis = undefined;
    return worst;
  }

  #causesOf(
    { instance, own, callers, cvssTenths, standing }: JudgedInstance,
    memory: Memory,
    { median, nowMillis, failing }: At,
  ): Map<string, Wanted & { readonly afterSeconds: number }> {
    const limits = this.#thresholds;
    const causes = new Map<string, Wanted & { readonly afterSeconds: number }>();
    const add = (name: string, wanted: Wanted, afterSeconds: number): void =>
      void causes.set(name, { ...wanted, afterSeconds });
    const seen = failuresSeen({ callers, own, standing }, limits);
    if (seen?.isByTwo === true) memory.toldMillis = nowMillis;
    // Where the others fail as well, what they depend on does, or a caller asks for what cannot be.
    const othersPermille = medianOf(
      failing.flatMap((one) => (one.instance === instance ? [] : [one.permille])),
    );
    if (seen !== undefined && othersPermille < limits.failingPermilleMin / 2) {
      const { permille, isByCallers } = seen;
      const evidence = { errorPermille: permille, callers: isByCallers ? callers.length : 0 };
      if (permille >= limits.failingPermilleMin)
        add("failing", { standing: "degraded", reason: "failing", evidence }, limits.failingDegradeSeconds);
      // Neither what it says of itself nor what one node says of it is enough to cut it off.
      if (seen.isByTwo && seen.surePermille >= limits.brokenPermilleMin)
        add(
          "broken",
          { standing: "quarantined", reason: "failing", evidence },
          limits.brokenQuarantineSeconds,
        );
      // It was failing and is not well yet.
      if (standing !== "serving" && permille > limits.wellPermilleMax)
        add("mending", { standing: "degraded", reason: "failing", evidence }, 0);
    }
    noteHealth(memory, own?.isHealthy, nowMillis);
    const { healthChanges } = memory;
    if (own?.isHealthy === false)
      add(
        "unhealthy",
        { standing: "degraded", reason: "unhealthy", evidence: {} },
        limits.unhealthyDegradeSeconds,
      );
    if (healthChanges.length >= limits.healthChangesMax)
      add(
        "flapping",
        { standing: "degraded", reason: "flapping", evidence: { changes: healthChanges.length } },
        0,
      );
    const p90Millis = Math.round(own?.p90Millis ?? 0);
    if (
      own !== undefined &&
      own.requests >= limits.callerRequestsMin &&
      median > 0 &&
      p90Millis >= Math.max(limits.slowMillisMin, median * limits.slowTimes)
    )
      add(
        "slow",
        { standing: "degraded", reason: "slow", evidence: { p90Millis, medianMillis: Math.round(median) } },
        limits.slowDegradeSeconds,
      );
    if (cvssTenths >= limits.cvssDegradeTenthsMin) {
      const isWorst = cvssTenths >= limits.cvssQuarantineTenthsMin;
      const worse = isWorst ? "quarantined" : "degraded";
      add("vulnerable", { standing: worse, reason: "vulnerable", evidence: { cvssTenths } }, 0);
    }
    return causes;
  }

  #takenBack(
    one: JudgedInstance,
    memory: Memory,
    { isWell, nowMillis }: { readonly isWell: boolean; readonly nowMillis: number },
  ): StandingDecision | undefined {
    const isHeard = one.own !== undefined && one.own.isHealthy !== false;
    if (!isWell || !isHeard || memory.since.size > 0) {
      memory.wellSinceMillis = undefined;
      return undefined;
    }
    memory.wellSinceMillis ??= nowMillis;
    const wellSeconds = (nowMillis - memory.wellSinceMillis) / 1000;
    const { restoreSeconds, releaseSeconds, restoreSecondsMax } = this.#thresholds;
    if (one.standing === "serving") {
      if (wellSeconds >= restoreSecondsMax) memory.times = 0;
      return undefined;
    }
    const once = one.standing === "quarantined" ? releaseSeconds : restoreSeconds;
    const wait = Math.min(restoreSecondsMax, once * 2 ** Math.max(0, memory.times - 1));
    if (one.isPeoples || wellSeconds < wait) return undefined;
    memory.wellSinceMillis = nowMillis;
    const evidence = { wellSeconds: Math.floor(wellSeconds) };
    const { instance, decision } = one;
    return { instance, decision, standing: "serving", reason: "recovered", evidence };
  }

  /** No node's instances use up what there is for all. */
  #rateRefuses({ service, node }: JudgedInstance, nowMillis: number): "rate-limit" | undefined {
    const { serviceSecondsMin, nodeDecisionsPerMinuteMax, decisionsPerMinuteMax } = this.#thresholds;
    this.#decided = this.#decided.filter(({ atMillis }) => nowMillis - atMillis < 60_000);
    const last = this.#lastOfService.get(service);
    const isTooSoon = last !== undefined && nowMillis - last < serviceSecondsMin * 1000;
    const ofNode = this.#decided.filter((one) => one.node === node).length;
    const isTooMany = ofNode >= nodeDecisionsPerMinuteMax || this.#decided.length >= decisionsPerMinuteMax;
    return isTooSoon || isTooMany ? "rate-limit" : undefined;
  }

  #memoryOf(instance: string, nowMillis: number): Memory {
    const known = this.#memories.get(instance);
    if (known !== undefined) {
      known.lookedMillis = nowMillis;
      return known;
    }
    const made: Memory = {
      lookedMillis: nowMillis,
      since: new Map(),
      wellSinceMillis: undefined,
      toldMillis: Number.NEGATIVE_INFINITY,
      isHealthy: undefined,
      healthChanges: [],
      times: 0,
    };
    this.#memories.set(instance, made);
    return made;
  }

  /** One that says for a moment that it serves nowhere has not begun anew. */
  #forgetGone(registered: { readonly has: (instance: string) => boolean }, nowMillis: number): void {
    const unseenMillisMax = this.#thresholds.untoldSecondsMax * 1000;
    for (const [instance, memory] of this.#memories) {
      if (!registered.has(instance)) this.#memories.delete(instance);
      if (nowMillis - memory.lookedMillis <= unseenMillisMax) continue;
      memory.since.clear();
      memory.wellSinceMillis = undefined;
    }
    for (const [service, at] of this.#lastOfService)
      if (nowMillis - at >= this.#thresholds.serviceSecondsMin * 1000) this.#lastOfService.delete(service);
  }
}

/** How many instances of a service do not serve, while more are about to. */
class Shares {
  readonly #thresholds: StandingThresholds;
  readonly #all: number;
  #notServing = 0;
  #quarantined = 0;

  constructor(members: readonly JudgedInstance[], thresholds: StandingThresholds) {
    this.#thresholds = thresholds;
    this.#all = members.length;
    for (const one of members) {
      if (isOut(one)) this.#notServing += 1;
      if (one.standing === "quarantined") this.#quarantined += 1;
    }
  }

  refuses(one: JudgedInstance, standing: "degraded" | "quarantined"): "share-limit" | undefined {
    const { notServingPermilleMax, quarantinedPermilleMax } = this.#thresholds;
    const notServing = this.#notServing + (isOut(one) ? 0 : 1);
    const quarantined = this.#quarantined + (standing === "quarantined" ? 1 : 0);
    const isWithin =
      notServing <= Math.floor((this.#all * notServingPermilleMax) / 1000) &&
      quarantined <= Math.floor((this.#all * quarantinedPermilleMax) / 1000);
    return isWithin ? undefined : "share-limit";
  }

  take(one: JudgedInstance, standing: "degraded" | "quarantined"): void {
    if (!isOut(one)) this.#notServing += 1;
    if (standing === "quarantined") this.#quarantined += 1;
  }
}

/** Whether it serves less than it could, or not at all, whoever has said so. */
function isOut({ standing, own }: JudgedInstance): boolean {
  return standing !== "serving" || own?.isHealthy === false;
}

/** How much of what an instance is asked fails. */
interface FailuresSeen {
  readonly permille: number;
  readonly isByCallers: boolean;
  /** Whether two sources that cannot speak for each other have seen enough: callers on two nodes, or callers and it itself. */
  readonly isByTwo: boolean;
  /** What two such sources agree on at least. */
  readonly surePermille: number;
}

/**
 * The share of failures that most nodes see, in thousandths, each by what most callers on it see: a caller that lies, or
 * cannot reach an instance itself, is outvoted where there are others, and an agent that makes up its callers has one
 * vote. What the instance's own proxy says counts where no caller has seen enough, and beside the callers of one node.
 */
function failuresSeen(
  { callers, own, standing }: Pick<JudgedInstance, "callers" | "own" | "standing">,
  { callerRequestsMin, degradedRequestsMin }: StandingThresholds,
): FailuresSeen | undefined {
  const requestsMin = standing === "serving" ? callerRequestsMin : degradedRequestsMin;
  const telling = callers.filter(({ requests }) => requests >= requestsMin);
  const byNode = Map.groupBy(telling, ({ node }) => node);
  const isOwnTelling = own !== undefined && own.requests >= requestsMin;
  const ownPermille = isOwnTelling ? Math.floor((1000 * own.errors) / own.requests) : 0;
  if (byNode.size > 0) {
    const votes = [...byNode.values()].map((seen) =>
      medianOf(seen.map(({ requests, failures }) => Math.floor((1000 * failures) / requests))),
    );
    const permille = medianOf(votes);
    const isByNodes = byNode.size > 1;
    const surePermille = isByNodes ? permille : Math.min(permille, ownPermille);
    return { permille, isByCallers: true, isByTwo: isByNodes || isOwnTelling, surePermille };
  }
  if (!isOwnTelling) return undefined;
  return { permille: ownPermille, isByCallers: false, isByTwo: false, surePermille: 0 };
}

const changesRememberedMillis = 120_000;

function noteHealth(memory: Memory, isHealthy: boolean | undefined, nowMillis: number): void {
  const { isHealthy: before } = memory;
  memory.healthChanges = memory.healthChanges.filter((at) => nowMillis - at < changesRememberedMillis);
  if (isHealthy !== undefined && before !== undefined && isHealthy !== before)
    memory.healthChanges.push(nowMillis);
  memory.isHealthy = isHealthy ?? before;
}

/** How much of what each instance is asked fails, of those of which that is known. */
function failingOf(members: readonly JudgedInstance[], thresholds: StandingThresholds): At["failing"] {
  return members.flatMap((one) => {
    const seen = failuresSeen(one, thresholds);
    return seen === undefined ? [] : [{ instance: one.instance, permille: seen.permille }];
  });
}

/** The lower one of two in the middle; 0 of none. */
function medianOf(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor((values.length - 1) / 2)] ?? 0;
}

/** Of the instances that have had requests. */
function medianP90(members: readonly JudgedInstance[]): number {
  const all = members
    .flatMap(({ own }) => (own !== undefined && own.requests > 0 ? [own.p90Millis] : []))
    .sort((one, other) => one - other);
  return all.length < 3 ? 0 : (all[Math.floor((all.length - 1) / 2)] ?? 0);
}

function rank(standing: "serving" | "degraded" | "quarantined"): number {
  return standing === "serving" ? 0 : standing === "degraded" ? 1 : 2;
}
