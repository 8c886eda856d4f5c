import type { Clock } from "../../base/clock.ts";
import { AnswerTimes, UsualTime } from "./answer-times.ts";
import { type InstanceFailure, type OutlierPolicy, Standing } from "./standing.ts";

/** How long an instance that could not be reached is left alone while others can be. */
const avoidMillis = 2_000;
/**
 * A zone takes all requests of its own callers while so many times its healthy share is the whole: until 5 of 7 are
 * left. Below that the rest goes to other zones in proportion.
 */
const zoneOverprovisioning = 1.4;
/** Where less than this share of a service's instances is in, those that are out are used as well. */
const panicShare = 0.5;
/** The share of requests that degraded instances get together while there are others: so much shows whether they mend. */
const degradedShare = 0.02;

/** So that requests in flight count where nothing is known yet of how long they take. */
const costMillisMin = 0.001;

/** The limits of this file, for whoever wants to see them. */
export const balancerLimits = { avoidMillis, zoneOverprovisioning, panicShare, degradedShare } as const;

/** What can be chosen: the way to an instance, which knows how many requests it carries. */
export interface Loaded {
  readonly load: number;
}

/** One instance of a service, as the choice between them sees it; it keeps what is known of it while lists change. */
export class Member<Link extends Loaded> {
  readonly link: Link;
  /** Whether it is in the caller's own zone, or the caller in none. */
  isNear = true;
  /** Whether it has been decided that others are preferred. */
  isDegraded = false;
  avoidUntilMillis = 0;
  readonly times: AnswerTimes = new AnswerTimes();
  readonly standing: Standing = new Standing();

  constructor(link: Link) {
    this.link = link;
  }
}

/** What a service's callers are held to; absent where nobody has said. */
export interface BalancerPolicy {
  readonly inFlightMax?: number | undefined;
  readonly outliers?: OutlierPolicy | undefined;
}

/** How many requests of a caller in a zone stayed there, and how many did not. */
export interface ZoneCounts {
  same: number;
  other: number;
}

/** What a balancer tells its owner. */
export interface BalancerObserver<Link extends Loaded> {
  /** An instance was put out, for a reason and a time. */
  onEjected(member: Member<Link>): void;
  /** One that was out has passed its trials. */
  onReturned(member: Member<Link>): void;
}

/**
 * Chooses among the instances of one service: of two drawn at random (power of two choices) the one with the least to
 * do, measured by its requests in flight and how long it takes to answer; in the caller's own zone as long as that is
 * well; not those that fail.
 */
export class Balancer<Link extends Loaded> {
  readonly #clock: Pick<Clock, "monotonicMillis">;
  readonly #random: () => number;
  readonly #zones: ZoneCounts;
  readonly #observer: BalancerObserver<Link>;
  readonly #usual = new UsualTime();
  readonly #byLink = new Map<Link, Member<Link>>();
  #members: readonly Member<Link>[] = [];
  #hasZone = false;
  #policy: BalancerPolicy = {};
  /** Members that requests may go to, by zone, and when one more or less may. */
  #near: Member<Link>[] = [];
  #far: Member<Link>[] = [];
  /** Degraded ones, where there are others; those are otherwise in the lists above. */
  #degraded: Member<Link>[] = [];
  #nearShare = 1;
  #recountAtMillis = 0;

  constructor(parts: {
    readonly clock: Pick<Clock, "monotonicMillis">;
    readonly random: () => number;
    readonly zones: ZoneCounts;
    readonly observer: BalancerObserver<Link>;
  }) {
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#zones = parts.zones;
    this.#observer = parts.observer;
  }

  /** Takes who there is to choose from now; `hasZone` where the caller is in a zone. */
  setMembers(members: readonly Member<Link>[], hasZone: boolean): void {
    this.#members = members;
    this.#hasZone = hasZone;
    this.#byLink.clear();
    for (const member of members) this.#byLink.set(member.link, member);
    this.#recountAtMillis = 0;
  }

  /** Takes what callers are held to from now on. */
  setPolicy(policy: BalancerPolicy): void {
    this.#policy = policy;
    if (policy.outliers === undefined) for (const { standing } of this.#members) standing.forgive();
    this.#recountAtMillis = 0;
  }

  /** Itself, where there is more than one to choose from; otherwise nothing needs to be known of how requests go. */
  get outcomes(): this | undefined {
    return this.#members.length > 1 ? this : undefined;
  }

  /** One to try, other than those `tried`; `overloaded` where those left have as many requests as they may. */
  pick(tried: readonly Link[]): Link | "overloaded" | undefined {
    const [only] = this.#members;
    if (only === undefined) return undefined;
    // One by itself costs no look at the clock.
    if (this.#members.length === 1 && tried.length === 0 && !this.#isFull(only)) return this.#toZone(only);
    const now = this.#clock.monotonicMillis();
    const member = this.#draw(tried, now);
    if (member === undefined) return this.#whyNone(tried);
    member.standing.picked(now);
    return this.#toZone(member);
  }

  /** Whether there is another one. */
  hasOther(than: Link): boolean {
    return this.#members.some(({ link }) => link !== than);
  }

  /** Leaves an instance alone for a moment while others can be asked. */
  avoid(link: Link): void {
    const member = this.#byLink.get(link);
    if (member === undefined) return;
    member.avoidUntilMillis = this.#clock.monotonicMillis() + avoidMillis;
    this.#recountAtMillis = 0;
  }

  /** An instance could not be reached. */
  unreachable(link: Link): void {
    this.avoid(link);
    this.ended(link, this.#clock.monotonicMillis(), "connect-failed");
  }

  /** A request is being sent; answers with the moment, to be handed back. */
  sent(): number {
    return this.#clock.monotonicMillis();
  }

  /** The head of an answer that is no failure has come. */
  heard(link: Link, sentMillis: number): void {
    const member = this.#byLink.get(link);
    if (member === undefined) return;
    const now = this.#clock.monotonicMillis();
    const millis = now - sentMillis;
    const { outliers } = this.#policy;
    if (
      outliers !== undefined &&
      member.standing.heard(this.#isSlow(member, millis, now), sentMillis, outliers)
    )
      this.#eject(member, "slow", outliers);
    member.times.add(millis, this.#usual, now);
    this.#usual.add(millis);
  }

  /** A request has gone well as far as the instance goes, or failed. */
  ended(link: Link, sentMillis: number, failure: InstanceFailure | undefined): void {
    const { outliers } = this.#policy;
    const member = this.#byLink.get(link);
    if (member === undefined || outliers === undefined) return;
    const { standing } = member;
    if (standing.ended(failure, sentMillis, outliers) && failure !== undefined)
      this.#eject(member, failure, outliers);
    if (!standing.settle(this.#clock.monotonicMillis())) return;
    this.#recountAtMillis = 0;
    this.#observer.onReturned(member);
  }

  /** Nobody waits for the answer to a request any more: it took at least as long as that. */
  abandoned(link: Link, sentMillis: number): void {
    const { outliers } = this.#policy;
    const member = this.#byLink.get(link);
    if (member === undefined || outliers === undefined) return;
    const now = this.#clock.monotonicMillis();
    const isSlow = this.#isSlow(member, now - sentMillis, now);
    if (isSlow && member.standing.heard(true, sentMillis, outliers)) this.#eject(member, "slow", outliers);
  }

  /** Counts where a request goes. */
  #toZone({ link, isNear }: Member<Link>): Link {
    if (this.#hasZone) this.#zones[isNear ? "same" : "other"] += 1;
    return link;
  }

  #isSlow(member: Member<Link>, millis: number, now: number): boolean {
    return millis > member.times.slowAboveMillis(() => timesOf(this.#members), now);
  }

  #isFull({ link }: Member<Link>): boolean {
    return this.#policy.inFlightMax !== undefined && link.load >= this.#policy.inFlightMax;
  }

  #draw(tried: readonly Link[], now: number): Member<Link> | undefined {
    if (now >= this.#recountAtMillis) this.#recount(now);
    if (this.#degraded.length > 0 && this.#random() < degradedShare) {
      const tested = this.#drawFrom(this.#degraded, tried, now);
      if (tested !== undefined) return tested;
    }
    const isNearFirst =
      this.#nearShare === 1 || this.#random() < this.#nearShare || this.#awaitsTrial(this.#near, now);
    const [first, second] = isNearFirst ? [this.#near, this.#far] : [this.#far, this.#near];
    return (
      this.#drawFrom(first, tried, now) ??
      this.#drawFrom(second, tried, now) ??
      this.#drawFrom(this.#degraded, tried, now) ??
      this.#lastResort(tried)
    );
  }

  /** Whether one is on probation and could have a request: a zone that is wholly out comes back only so. */
  #awaitsTrial(list: readonly Member<Link>[], now: number): boolean {
    return list.some(({ standing }) => standing.state === "probation" && standing.isOpen(now));
  }

  /** The better one of two. */
  #drawFrom(list: Member<Link>[], tried: readonly Link[], now: number): Member<Link> | undefined {
    const one = list[Math.floor(this.#random() * list.length)];
    if (one === undefined) return undefined;
    const other = list[this.#indexBeside(list, one)] ?? one;
    if (!this.#isOpen(one, tried, now) || !this.#isOpen(other, tried, now)) {
      const open = list.filter((member) => this.#isOpen(member, tried, now));
      return this.#drawFrom(open, tried, now);
    }
    return this.#costOf(one, now) <= this.#costOf(other, now) ? one : other;
  }

  /** A place in a list drawn at random that is not that of `one`, if there is one. */
  #indexBeside(list: readonly Member<Link>[], one: Member<Link>): number {
    const index = Math.floor(this.#random() * (list.length - 1));
    return list[index] === one ? list.length - 1 : index;
  }

  #isOpen(member: Member<Link>, tried: readonly Link[], now: number): boolean {
    return !tried.includes(member.link) && member.standing.isOpen(now) && !this.#isFull(member);
  }

  /** How long one more request would take there, if all were done one after the other. */
  #costOf({ link, times }: Member<Link>, now: number): number {
    return (link.load + 1) * Math.max(costMillisMin, times.expectedMillis(this.#usual, now));
  }

  /**
   * Where nothing is left but what just could not be reached: the one for which that is longest ago. Not where others
   * are there and only full.
   */
  #lastResort(tried: readonly Link[]): Member<Link> | undefined {
    const left = this.#members.filter(({ link }) => !tried.includes(link));
    const isUsed = (member: Member<Link>): boolean =>
      this.#near.includes(member) || this.#far.includes(member) || this.#degraded.includes(member);
    if (left.some((member) => this.#isFull(member) && isUsed(member))) return undefined;
    const free = left.filter((member) => !this.#isFull(member));
    const inside = free.filter(({ standing }) => standing.state === "in");
    const [longestAgo] = (inside.length > 0 ? inside : free).toSorted(
      (one, other) => one.avoidUntilMillis - other.avoidUntilMillis,
    );
    return longestAgo;
  }

  #whyNone(tried: readonly Link[]): "overloaded" | undefined {
    const isLeft = this.#members.some((member) => !tried.includes(member.link) && this.#isFull(member));
    return isLeft ? "overloaded" : undefined;
  }

  /** Sorts the members again; nothing about them changes by itself before the time that it notes. */
  #recount(now: number): void {
    let nextMillis = Number.POSITIVE_INFINITY;
    let usable = 0;
    for (const { standing, avoidUntilMillis } of this.#members) {
      standing.refresh(now);
      if (standing.state === "out") nextMillis = Math.min(nextMillis, standing.untilMillis);
      if (avoidUntilMillis > now) nextMillis = Math.min(nextMillis, avoidUntilMillis);
      else if (standing.state !== "out") usable += 1;
    }
    const isPanic = usable < this.#members.length * panicShare;
    const isUsed = ({ standing, avoidUntilMillis }: Member<Link>): boolean =>
      avoidUntilMillis <= now && (isPanic || standing.state !== "out");
    const used = this.#members.filter(isUsed);
    const preferred = used.filter(({ isDegraded }) => !isDegraded);
    const isMixed = preferred.length > 0 && preferred.length < used.length;
    this.#degraded = isMixed ? used.filter(({ isDegraded }) => isDegraded) : [];
    const first = isMixed ? preferred : used;
    this.#near = first.filter(({ isNear }) => isNear);
    this.#far = first.filter(({ isNear }) => !isNear);
    this.#nearShare = this.#shareOfZone(now, isPanic);
    this.#recountAtMillis = nextMillis;
  }

  /** The share of requests that stays in the caller's zone. */
  #shareOfZone(now: number, isPanic: boolean): number {
    if (this.#far.length === 0) return 1;
    let all = 0;
    let healthy = 0;
    for (const { isNear, isDegraded, standing, avoidUntilMillis } of this.#members) {
      if (!isNear) continue;
      all += 1;
      if (!isDegraded && avoidUntilMillis <= now && (isPanic || standing.state === "in")) healthy += 1;
    }
    return Math.min(1, (zoneOverprovisioning * healthy) / Math.max(1, all));
  }

  /** Puts an instance out, unless too many are, or it is the last one in. */
  #eject(member: Member<Link>, reason: InstanceFailure, policy: OutlierPolicy): void {
    const now = this.#clock.monotonicMillis();
    let notIn = 0;
    let hasOther = false;
    for (const other of this.#members) {
      if (other === member) continue;
      if (other.standing.state !== "in") notIn += 1;
      else if (other.avoidUntilMillis <= now) hasOther = true;
    }
    const outMax = Math.max(1, Math.floor((this.#members.length * policy.ejectPercentMax) / 100));
    if (!hasOther || notIn >= outMax) return;
    member.standing.eject(reason, now, policy);
    this.#recountAtMillis = 0;
    this.#observer.onEjected(member);
  }
}

function* timesOf<Link extends Loaded>(members: readonly Member<Link>[]): Generator<AnswerTimes> {
  for (const { times } of members) yield times;
}
