import { create } from "@bufbuild/protobuf";
import type { Clock } from "../base/clock.ts";
import {
  type Alarm,
  AlarmSchema,
  type Endpoint,
  type EndpointList,
  EndpointSchema,
  type FollowerStatus,
  FollowerStatusSchema,
  isBoundedAdvertisement,
  isSameAdvertisement,
  type ReportRequest,
  type ResourceReport,
  ResourceReportSchema,
} from "../protocol/index.ts";
import type { TrustState } from "../trust-log/index.ts";
import { FollowerProgress } from "./follower-progress.ts";
import { ObservedCalls } from "./observed-calls.ts";

/**
 * After a start, endpoints are a partial list, which takes nobody away, until every node has reported and has told of
 * each of its instances: half a list would cut routes. Neither is waited for longer than this; the second time counts
 * from the node's report, since the sidecars of a machine come back to their agent one after another.
 */
const endpointGraceMillis = 15_000;
const instanceGraceMillis = 5_000;
const nodeSilenceMillisMax = 5_000;
/** Each source keeps its own latest alarms, so that nobody can push out what others have raised. */
const alarmsPerSourceMax = 32;
const alarmSourcesMax = 1_024;
const reasonCharactersMax = 64;
const detailCharactersMax = 512;
/** What the control plane itself finds amiss; nodes report under whatever reason they choose. */
export const alarmReasons = [
  "advertised-in-quarantine",
  "approval-refused",
  "authority-not-renewed",
  "browser-refused",
  "call-refused",
  "clock-disagrees",
  "decision-withheld",
  "identity-refused",
  "lineage-forked",
  "clock-unconfirmed",
  "entry-refused",
  "federation-refused",
  "federation-rollback",
  "join-refused",
  "log-forked",
  "log-rolled-back",
  "preparation-refused",
  "proposal-refused",
  "session-refused",
  "token-key-not-renewed",
  "withdrawal-refused",
] as const;

/** Why the control plane raises an alarm. */
export type AlarmReason = (typeof alarmReasons)[number];

/** What a proxy may call what it is for. */
const rolePattern = /^[a-z]{1,16}$/;
/** What a follower knows that does not say what it knows. */
const firstRevision = 1;
const versionPattern = /^[0-9A-Za-z.+-]{1,64}$/;
const reasonPattern = /^[a-z-]{1,64}$/;
/** Of a proxy's start; request tokens name it. */
const bootIdPattern = /^[0-9a-f]{16}$/;
const healthPattern = /^(connect-failed|timeout|status-[0-9]{3})$/;
/** What a proxy says of its times and counts; they go into what is decided upon them. */
const reportedMillisMax = 3_600_000;
const addressPattern = /^[^\s/@]{1,255}:[0-9]{1,5}$/;

/** What of the trust log says who should report. */
type Registered = Pick<TrustState, "nodes" | "instances" | "standings">;
interface Follower {
  readonly node: string;
  readonly status: FollowerStatus;
  readonly atMillis: number;
}

interface NodeReport {
  readonly size: number;
  /** Of its first report since the start of this process. */
  readonly sinceMillis: number;
  readonly atMillis: number;
  /** Undefined where the agent did not tell. */
  readonly clockAheadSeconds: number | undefined;
  readonly softwareVersion: string;
  readonly entryRevision: number;
}

/** What is told of followers as they report. */
export interface FollowerEvents {
  /** A follower has got further, after so long behind. */
  readonly converged?: (seconds: number) => void;
  readonly raised?: (reason: string) => void;
}

/** A follower that does not know all kinds of entries. */
export interface OlderFollower {
  readonly name: string;
  /** What it said of itself, noughts where it is so old that it says nothing; undefined where it was not heard of yet. */
  readonly told:
    | { readonly softwareVersion: string; readonly entryRevision: number; readonly isRetiring?: boolean }
    | undefined;
}

interface RaisedAlarm {
  readonly reason: string;
  readonly detail: string;
  readonly atMillis: number;
}

/** A follower that has reached a size, and after how many milliseconds. */
export interface FollowerReport {
  readonly instance: string;
  readonly service: string;
  readonly millis: number;
}

/** What followers have reported: how far they are, where they serve. Hearsay, kept in memory only. */
export class FollowerRegistry {
  readonly #clock: Clock;
  readonly #startedMillis: number;
  readonly #followers = new Map<string, Follower>();
  readonly #nodes = new Map<string, NodeReport>();
  readonly #alarms = new Map<string, RaisedAlarm[]>();
  readonly #listeners = new Set<() => void>();
  readonly #reportListeners = new Set<() => void>();
  readonly #progress: FollowerProgress;
  /** How requests go, by their callers' account. */
  readonly calls: ObservedCalls = new ObservedCalls();
  readonly #events: FollowerEvents;
  #endpoints: Endpoint[] = [];
  /** What {@link endpoints} last said. */
  #told: EndpointList | undefined;
  #list: EndpointList | undefined;
  /** From when on nobody is waited for. */
  #settledMillis: number;

  constructor(clock: Clock, events: FollowerEvents = {}) {
    this.#clock = clock;
    this.#progress = new FollowerProgress(clock, events.converged);
    this.#events = events;
    this.#startedMillis = clock.monotonicMillis();
    this.#settledMillis = this.#startedMillis + endpointGraceMillis;
  }

  /** Who serves where, or as much of it as has been told since the start. */
  endpoints(state: Registered): EndpointList {
    const now = this.#clock.monotonicMillis();
    const isPartial = now < this.#settledMillis && !this.#isComplete(state, now);
    // The same object for the same answer: readers wait for another one.
    if (this.#list?.endpoints !== this.#endpoints || this.#list.isPartial !== isPartial)
      this.#list = { endpoints: this.#endpoints, isPartial };
    return this.#list;
  }

  /** Takes a node's report; only instances that the log has registered on this very node count. */
  report(state: Registered, node: string, report: ReportRequest): void {
    const now = this.#clock.monotonicMillis();
    const sinceMillis = this.#nodes.get(node)?.sinceMillis ?? now;
    if (sinceMillis === now) this.#settledMillis = Math.max(this.#settledMillis, now + instanceGraceMillis);
    this.#nodes.set(node, {
      size: Number(report.agentSize),
      sinceMillis,
      atMillis: now,
      clockAheadSeconds: this.#aheadOf(report.clockSeconds),
      softwareVersion: versionOrNone(report.softwareVersion),
      entryRevision: report.entryRevision,
    });
    for (const instance of report.ended)
      if (this.#followers.get(instance)?.node === node) this.#forget(instance);
    for (const status of report.followers) {
      const row = state.instances.get(status.instance);
      if (row?.node !== node) continue;
      this.#progress.noteFollower(status.instance, Number(status.size));
      this.calls.note({ instance: status.instance, node }, status.called, state.instances, now);
      const told = believed(status, row.service);
      this.#followers.set(status.instance, {
        node,
        status: this.#unlessCutOff(state, node, told),
        atMillis: now,
      });
    }
    for (const instance of this.#followers.keys()) if (!state.instances.has(instance)) this.#forget(instance);
    this.#refreshEndpoints();
    const told = this.endpoints(state);
    if (told !== this.#told) for (const callback of this.#listeners) callback();
    this.#told = told;
    for (const callback of this.#reportListeners) callback();
  }

  /** The log has this size from now on. */
  noteLogSize(size: number): void {
    this.#progress.noteLog(size);
  }

  /** Those known followers that have reached a size, and how many there are in all. */
  progress(size: number): { readonly known: number; readonly reached: readonly FollowerReport[] } {
    const reached = this.#progress.reached(size).map(({ instance, millis }) => {
      const service = this.#followers.get(instance)?.status.service ?? "";
      return { instance, service, millis };
    });
    return { known: this.#followers.size, reached };
  }

  /** Calls back after every report until the returned function is called. */
  onReport(callback: () => void): () => void {
    this.#reportListeners.add(callback);
    return () => this.#reportListeners.delete(callback);
  }

  /** Notes something that should not have happened; what comes of one source pushes out nothing of another's. */
  raise(source: string, reason: AlarmReason, detail: string): void {
    this.#note(source, reason, detail);
  }

  /** Notes what a node says should not have happened. */
  raiseFor(node: string, { reason, detail }: Pick<Alarm, "reason" | "detail">): void {
    this.#note(node, reason, `${node}: ${detail}`);
  }

  #note(source: string, reason: string, detail: string): void {
    const [shortReason, shortDetail] = [
      reason.slice(0, reasonCharactersMax),
      detail.slice(0, detailCharactersMax),
    ];
    // What is said again is the same alarm, and must not push out others.
    const alarms = (this.#alarms.get(source) ?? []).filter(
      (alarm) => alarm.reason !== shortReason || alarm.detail !== shortDetail,
    );
    this.#events.raised?.(reason);
    this.#alarms.delete(source);
    this.#alarms.set(source, alarms);
    const tooMany = Math.max(0, this.#alarms.size - alarmSourcesMax);
    for (const idle of this.#alarms.keys().take(tooMany)) this.#alarms.delete(idle);
    alarms.push({
      reason: shortReason,
      detail: shortDetail,
      atMillis: this.#clock.monotonicMillis(),
    });
    if (alarms.length > alarmsPerSourceMax) alarms.shift();
  }

  /** What followers last said of themselves, with their staleness as it is by now: its end would have been reported. */
  statuses(): FollowerStatus[] {
    const now = this.#clock.monotonicMillis();
    return [...this.#followers.values()].map(({ status, atMillis }) => ({
      ...status,
      stalenessSeconds: status.stalenessSeconds + (now - atMillis) / 1000,
    }));
  }

  /** What an instance's proxy last said, and when. */
  reportOf(instance: string): { readonly status: FollowerStatus; readonly atMillis: number } | undefined {
    return this.#followers.get(instance);
  }

  /** Every joined node with what it last reported. */
  nodes(state: TrustState): {
    node: string;
    size: bigint;
    isConnected: boolean;
    lastReportSecondsAgo: number;
    clockAheadSeconds: number;
    softwareVersion: string;
    entryRevision: number;
  }[] {
    const now = this.#clock.monotonicMillis();
    return [...state.nodes.entries()].map(([node]) => {
      const report = this.#nodes.get(node);
      const silence = report === undefined ? now - this.#startedMillis : now - report.atMillis;
      return {
        node,
        size: BigInt(report?.size ?? 0),
        isConnected: report !== undefined && silence < nodeSilenceMillisMax,
        lastReportSecondsAgo: silence / 1000,
        clockAheadSeconds: report?.clockAheadSeconds ?? 0,
        softwareVersion: report?.softwareVersion ?? "",
        entryRevision: report?.entryRevision ?? 0,
      };
    });
  }

  /**
   * Who would stop before an entry that takes a revision (entry-kinds.ts), or may, since nothing has been heard of them
   * since the start of this process.
   */
  olderThan(revision: number, state: Registered): OlderFollower[] {
    if (revision <= firstRevision) return [];
    const isEarly = this.endpoints(state).isPartial;
    const older: OlderFollower[] = [];
    const judge = (name: string, told: OlderFollower["told"]): void => {
      const isOlder = told === undefined ? isEarly : Math.max(told.entryRevision, firstRevision) < revision;
      if (isOlder) older.push({ name, told });
    };
    for (const [node] of state.nodes.entries()) judge(`node agent of ${node}`, this.#nodes.get(node));
    for (const [instance, { service }] of state.instances.entries())
      judge(`${service} ${instance.slice(0, 8)}`, this.#followers.get(instance)?.status);
    return older;
  }

  /** Whether a proxy is older than a revision, or may be, since it was there `before` this process and is not heard of yet. */
  hasProxyOlderThan(revision: number, state: Registered, before: ReadonlySet<string>): boolean {
    const isEarly = this.endpoints(state).isPartial;
    for (const [instance] of state.instances.entries()) {
      const told = this.#followers.get(instance)?.status;
      if (told === undefined ? isEarly && before.has(instance) : told.entryRevision < revision) return true;
    }
    return false;
  }

  /** By how many seconds the clock of each connected node is ahead of this machine's. */
  clocksAheadSeconds(): number[] {
    const now = this.#clock.monotonicMillis();
    return [...this.#nodes.values()].flatMap(({ atMillis, clockAheadSeconds }) =>
      clockAheadSeconds !== undefined && now - atMillis < nodeSilenceMillisMax ? [clockAheadSeconds] : [],
    );
  }

  /** The latest alarms. */
  alarms(): Alarm[] {
    const now = this.#clock.monotonicMillis();
    return [...this.#alarms.values()]
      .flat()
      .sort((left, right) => left.atMillis - right.atMillis)
      .map(({ reason, detail, atMillis }) =>
        create(AlarmSchema, { reason, detail, secondsAgo: (now - atMillis) / 1000 }),
      );
  }

  /** Calls back whenever the endpoints change until the returned function is called. */
  onEndpoints(callback: () => void): () => void {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  }

  /** Undefined where the agent did not tell, or told what is no time: a median has no place for it. */
  #aheadOf(clockSeconds: number): number | undefined {
    const isTold = Number.isFinite(clockSeconds) && clockSeconds !== 0;
    return isTold ? clockSeconds - this.#clock.nowSeconds() : undefined;
  }

  /** Nobody is sent to an instance in quarantine; one that has read that it is, and offers itself, is not in order. */
  #unlessCutOff(state: Registered, node: string, status: FollowerStatus): FollowerStatus {
    const standing = state.standings.get(status.instance);
    if (standing?.state !== "quarantined" || status.address === "") return status;
    if (Number(status.size) > standing.decision)
      this.#note(node, "advertised-in-quarantine", `${node}: ${status.service} ${status.instance}`);
    return { ...status, address: "" };
  }

  #forget(instance: string): void {
    this.calls.forget(instance);
    this.#followers.delete(instance);
    this.#progress.forget(instance);
  }

  #refreshEndpoints(): void {
    const before = new Map(this.#endpoints.map((endpoint) => [endpoint.instance, endpoint]));
    const endpoints = [...this.#followers.values()]
      .filter(({ status }) => status.address !== "")
      .map(({ status: { instance, service, address, tokenAudience, advertisement } }) => {
        const more = advertisement === undefined ? {} : { advertisement };
        const endpoint = create(EndpointSchema, { instance, service, address, tokenAudience, ...more });
        const known = before.get(instance);
        // The same object for the same endpoint: whoever sends lists on sends what is new in them.
        return known !== undefined && isSame(endpoint, known) ? known : endpoint;
      });
    const hasChanged =
      endpoints.length !== this.#endpoints.length ||
      endpoints.some((endpoint, place) => endpoint !== this.#endpoints[place]);
    if (hasChanged) this.#endpoints = endpoints;
  }

  #isComplete(state: Registered, now: number): boolean {
    const isEarly = now - this.#startedMillis < endpointGraceMillis;
    if (isEarly) for (const [node] of state.nodes.entries()) if (!this.#nodes.has(node)) return false;
    for (const [instance, { node }] of state.instances.entries()) {
      const reported = this.#nodes.get(node);
      if (reported === undefined || this.#followers.has(instance)) continue;
      if (now - reported.sinceMillis < instanceGraceMillis) return false;
    }
    return true;
  }
}

/** A follower's account of itself with the service that the log has it registered as, and nothing of unknown length. */
function believed(status: FollowerStatus, service: string): FollowerStatus {
  const { $typeName: _name, $unknown: _unknown, advertisement, ...fields } = status;
  return create(FollowerStatusSchema, {
    ...fields,
    ...(advertisement !== undefined && isBoundedAdvertisement(advertisement)
      ? { advertisement: { ...advertisement, $unknown: [] } }
      : {}),
    service,
    address: addressOrNone(status.address),
    adminAddress: addressOrNone(status.adminAddress),
    outboundAddress: addressOrNone(status.outboundAddress),
    role: rolePattern.test(status.role) ? status.role : "",
    softwareVersion: versionOrNone(status.softwareVersion),
    stoppedReason: reasonPattern.test(status.stoppedReason) ? status.stoppedReason : "",
    tokenAudience: bootIdPattern.test(status.tokenAudience) ? status.tokenAudience : "",
    ...(status.resources === undefined ? {} : { resources: believedResources(status.resources) }),
    called: [],
  });
}

function believedResources(told: ResourceReport): ResourceReport {
  const { $typeName: _name, $unknown: _unknown, ...fields } = told;
  const millis = (value: number): number =>
    Number.isFinite(value) && value >= 0 ? Math.min(value, reportedMillisMax) : 0;
  return create(ResourceReportSchema, {
    ...fields,
    health: told.health === "healthy" || told.health === "unhealthy" ? told.health : "",
    healthReason: healthPattern.test(told.healthReason) ? told.healthReason : "",
    errors: Math.min(told.errors, told.requests),
    p50Millis: millis(told.p50Millis),
    p90Millis: millis(told.p90Millis),
    p99Millis: millis(told.p99Millis),
  });
}

/** Whether there is nothing in it that callers would have to be told. */
function isSame(one: Endpoint, other: Endpoint | undefined): boolean {
  return (
    other !== undefined &&
    one.instance === other.instance &&
    one.service === other.service &&
    one.address === other.address &&
    one.tokenAudience === other.tokenAudience &&
    isSameAdvertisement(one.advertisement, other.advertisement)
  );
}

function versionOrNone(version: string): string {
  return versionPattern.test(version) ? version : "";
}

function addressOrNone(address: string): string {
  return addressPattern.test(address) ? address : "";
}
