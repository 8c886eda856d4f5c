import { create } from "@bufbuild/protobuf";
import type { Clock } from "../base/clock.ts";
import {
  type Alarm,
  AlarmSchema,
  type Endpoint,
  EndpointSchema,
  type FollowerStatus,
  type ReportRequest,
} from "../protocol/index.ts";
import type { TrustState } from "../trust-log/index.ts";

/** After a start, endpoints are withheld this long unless every node has reported: half a list would cut routes. */
const endpointGraceMillis = 5_000;
const nodeSilenceMillisMax = 5_000;
const alarmsMax = 256;
const detailCharactersMax = 512;

interface NodeReport {
  readonly size: number;
  readonly atMillis: number;
}

/** What followers have reported: how far they are, where they serve. Hearsay, kept in memory only. */
export class FollowerRegistry {
  readonly #clock: Clock;
  readonly #startedMillis: number;
  readonly #followers = new Map<string, { readonly node: string; readonly status: FollowerStatus }>();
  readonly #nodes = new Map<string, NodeReport>();
  readonly #alarms: { readonly reason: string; readonly detail: string; readonly atMillis: number }[] = [];
  readonly #listeners = new Set<() => void>();
  #endpoints: readonly Endpoint[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
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
    this.#nodes.set(node, { size: Number(report.agentSize), atMillis: this.#clock.monotonicMillis() });
    for (const instance of report.ended) this.#followers.delete(instance);
    for (const status of report.followers)
      if (state.instances.get(status.instance)?.node === node)
        this.#followers.set(status.instance, { node, status });
    for (const instance of this.#followers.keys())
      if (!state.instances.has(instance)) this.#followers.delete(instance);
    this.#refreshEndpoints();
  }

  /** Notes something that should not have happened. */
  raise(reason: string, detail: string): void {
    this.#alarms.push({
      reason,
      detail: detail.slice(0, detailCharactersMax),
      atMillis: this.#clock.monotonicMillis(),
    });
    if (this.#alarms.length > alarmsMax) this.#alarms.shift();
  }

  /** What followers last said of themselves. */
  statuses(): FollowerStatus[] {
    return [...this.#followers.values()].map(({ status }) => status);
  }

  /** Every joined node with what it last reported. */
  nodes(
    state: TrustState,
  ): { node: string; size: bigint; isConnected: boolean; lastReportSecondsAgo: number }[] {
    const now = this.#clock.monotonicMillis();
    return [...state.nodes.entries()].map(([node]) => {
      const report = this.#nodes.get(node);
      const silence = report === undefined ? now - this.#startedMillis : now - report.atMillis;
      return {
        node,
        size: BigInt(report?.size ?? 0),
        isConnected: report !== undefined && silence < nodeSilenceMillisMax,
        lastReportSecondsAgo: silence / 1000,
      };
    });
  }

  /** The latest alarms. */
  alarms(): Alarm[] {
    const now = this.#clock.monotonicMillis();
    return this.#alarms.map(({ reason, detail, atMillis }) =>
      create(AlarmSchema, { reason, detail, secondsAgo: (now - atMillis) / 1000 }),
    );
  }

  /** Calls back whenever the endpoints change until the returned function is called. */
  onEndpoints(callback: () => void): () => void {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
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
