import { create } from "@bufbuild/protobuf";
import type { Clock } from "../base/clock.ts";
import {
  type Alarm,
  AlarmSchema,
  type Endpoint,
  EndpointSchema,
  type FollowerStatus,
  FollowerStatusSchema,
  type ReportRequest,
} from "../protocol/index.ts";
import type { TrustState } from "../trust-log/index.ts";
import { FollowerProgress } from "./follower-progress.ts";

/** After a start, endpoints are withheld this long unless every node has reported: half a list would cut routes. */
const endpointGraceMillis = 5_000;
const nodeSilenceMillisMax = 5_000;
/** Each source keeps its own latest alarms, so that nobody can push out what others have raised. */
const alarmsPerSourceMax = 32;
const alarmSourcesMax = 1_024;
const reasonCharactersMax = 64;
const detailCharactersMax = 512;
const addressPattern = /^[^\s/@]{1,255}:[0-9]{1,5}$/;

interface Follower {
  readonly node: string;
  readonly status: FollowerStatus;
  readonly atMillis: number;
}

interface NodeReport {
  readonly size: number;
  readonly atMillis: number;
  /** Undefined where the agent did not tell. */
  readonly clockAheadSeconds: number | undefined;
}

/** What is told of followers as they report. */
export interface FollowerEvents {
  /** A follower has got further, after so long behind. */
  readonly converged?: (seconds: number) => void;
  readonly raised?: (reason: string) => void;
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
  readonly #events: FollowerEvents;
  #endpoints: readonly Endpoint[] = [];

  constructor(clock: Clock, events: FollowerEvents = {}) {
    this.#clock = clock;
    this.#progress = new FollowerProgress(clock, events.converged);
    this.#events = events;
    this.#startedMillis = clock.monotonicMillis();
  }

  /** Who serves where, or undefined while too little is known to say. */
  endpoints(state: TrustState): readonly Endpoint[] | undefined {
    const isEarly = this.#clock.monotonicMillis() - this.#startedMillis < endpointGraceMillis;
    if (isEarly) for (const [node] of state.nodes.entries()) if (!this.#nodes.has(node)) return undefined;
    return this.#endpoints;
  }

  /** Takes a node's report; only instances that the log has registered on this very node count. */
  report(state: TrustState, node: string, report: ReportRequest): void {
    const atMillis = this.#clock.monotonicMillis();
    this.#nodes.set(node, {
      size: Number(report.agentSize),
      atMillis,
      clockAheadSeconds:
        report.clockSeconds === 0 ? undefined : report.clockSeconds - this.#clock.nowSeconds(),
    });
    for (const instance of report.ended)
      if (this.#followers.get(instance)?.node === node) this.#forget(instance);
    for (const status of report.followers) {
      const row = state.instances.get(status.instance);
      if (row?.node !== node) continue;
      this.#progress.noteFollower(status.instance, Number(status.size));
      this.#followers.set(status.instance, { node, status: believed(status, row.service), atMillis });
    }
    for (const instance of this.#followers.keys()) if (!state.instances.has(instance)) this.#forget(instance);
    this.#refreshEndpoints();
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

  /** Notes something that should not have happened; `source` is the node that says so, or empty. */
  raise(source: string, reason: string, detail: string): void {
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

  /** Every joined node with what it last reported. */
  nodes(state: TrustState): {
    node: string;
    size: bigint;
    isConnected: boolean;
    lastReportSecondsAgo: number;
    clockAheadSeconds: number;
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
      };
    });
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

  #forget(instance: string): void {
    this.#followers.delete(instance);
    this.#progress.forget(instance);
  }

  #refreshEndpoints(): void {
    const endpoints = [...this.#followers.values()]
      .filter(({ status }) => status.address !== "")
      .map(({ status: { instance, service, address } }) =>
        create(EndpointSchema, { instance, service, address }),
      );
    const isSame =
      endpoints.length === this.#endpoints.length &&
      endpoints.every(
        (one, place) =>
          one.instance === this.#endpoints[place]?.instance && one.address === this.#endpoints[place].address,
      );
    if (isSame) return;
    this.#endpoints = endpoints;
    for (const callback of this.#listeners) callback();
  }
}

/** A follower's account of itself with the service that the log has it registered as, and nothing of unknown length. */
function believed(status: FollowerStatus, service: string): FollowerStatus {
  const { $typeName: _name, $unknown: _unknown, ...fields } = status;
  return create(FollowerStatusSchema, {
    ...fields,
    service,
    address: addressOrNone(status.address),
    adminAddress: addressOrNone(status.adminAddress),
    outboundAddress: addressOrNone(status.outboundAddress),
  });
}

function addressOrNone(address: string): string {
  return addressPattern.test(address) ? address : "";
}
