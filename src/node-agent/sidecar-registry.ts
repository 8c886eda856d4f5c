import { create } from "@bufbuild/protobuf";
import { uuidPattern } from "../base/uuid.ts";
import {
  type Alarm,
  AlarmSchema,
  calledMax,
  type FollowerStatus,
  instancesPerNodeMax,
  isBoundedAdvertisement,
  isSameAdvertisement,
  isSameStatus,
} from "../protocol/index.ts";

/** How long a sidecar may be away from the agent before its instance counts as ended. Its key died with it. */
const absenceMillisDefault = 5_000;
/** The same for those that an agent which has just started has yet to hear of. */
const firstAbsenceMillis = 30_000;
const alarmsMax = 256;
const reasonCharactersMax = 64;
const detailCharactersMax = 512;
const addressCharactersMax = 320;

/** The sidecars of this node: which are here, what they last said, which have ended. */
export class SidecarRegistry {
  readonly #statuses = new Map<string, FollowerStatus>();
  /** Whose status the control plane has not taken yet. */
  readonly #untold = new Set<string>();
  readonly #present = new Map<string, number>();
  readonly #absent = new Map<string, NodeJS.Timeout>();
  readonly #ended = new Set<string>();
  readonly #isRegistered: (instance: string) => boolean;
  readonly #absenceMillis: number;
  #alarms: Alarm[] = [];
  #isClosed = false;

  /** `isRegistered` says whether the log has an instance on this node; no other has to be ended there. */
  constructor(isRegistered: (instance: string) => boolean, absenceMillis = absenceMillisDefault) {
    this.#isRegistered = isRegistered;
    this.#absenceMillis = absenceMillis;
  }

  /** Waits for instances that the log has registered here: those that do not come ended while no agent was there. */
  expect(instances: Iterable<string>, withinMillis = firstAbsenceMillis): void {
    for (const instance of instances)
      if (!this.#present.has(instance) && !this.#absent.has(instance)) this.#await(instance, withinMillis);
  }

  /** How many sidecars follow now. */
  get size(): number {
    return this.#present.size;
  }

  /** Whether an instance is here, or was a moment ago. */
  has(instance: string): boolean {
    return this.#present.has(instance) || this.#absent.has(instance);
  }

  /** A sidecar follows from here on, until the returned function is called. False when there is no place for it. */
  arrive(instance: string): (() => void) | false {
    if (!uuidPattern.test(instance)) return false;
    if (this.#present.size >= instancesPerNodeMax && !this.#present.has(instance)) return false;
    clearTimeout(this.#absent.get(instance));
    this.#absent.delete(instance);
    this.#present.set(instance, (this.#present.get(instance) ?? 0) + 1);
    let isHere = true;
    return () => {
      if (isHere) this.#leave(instance);
      isHere = false;
    };
  }

  /**
   * Takes what a sidecar says of itself; only those that follow count. True where others wait for it: it serves
   * somewhere else, or has reached another size.
   */
  report(statuses: readonly FollowerStatus[], alarms: readonly Alarm[]): boolean {
    let isNews = alarms.length > 0;
    for (const status of statuses) {
      if (!this.#present.has(status.instance) || !isBounded(status)) continue;
      const before = this.#statuses.get(status.instance);
      isNews ||=
        before?.address !== status.address ||
        before.size !== status.size ||
        !isSameAdvertisement(before.advertisement, status.advertisement);
      if (!isSameStatus(status, before)) this.#note({ ...status, $unknown: [] });
    }
    this.alarm(...alarms);
    return isNews;
  }

  /** Keeps alarms until they are handed on. */
  alarm(...alarms: readonly Alarm[]): void {
    const bounded = alarms.slice(-alarmsMax).map(({ reason, detail }) =>
      create(AlarmSchema, {
        reason: reason.slice(0, reasonCharactersMax),
        detail: detail.slice(0, detailCharactersMax),
      }),
    );
    this.#alarms = [...this.#alarms, ...bounded].slice(-alarmsMax);
  }

  /** What the next report to the control plane holds. */
  pending(): { readonly followers: FollowerStatus[]; readonly ended: string[]; readonly alarms: Alarm[] } {
    for (const instance of this.#ended) if (!this.#isRegistered(instance)) this.#ended.delete(instance);
    const followers = [...this.#untold]
      .map((instance) => this.#statuses.get(instance))
      .filter((status) => status !== undefined);
    return { followers, ended: [...this.#ended], alarms: this.#alarms };
  }

  /** Forgets what the control plane has taken. */
  delivered({
    followers,
    ended,
    alarms,
  }: {
    readonly followers: readonly FollowerStatus[];
    readonly ended: readonly string[];
    readonly alarms: readonly Alarm[];
  }): void {
    for (const status of followers)
      if (this.#statuses.get(status.instance) === status) this.#untold.delete(status.instance);
    for (const instance of ended) this.#ended.delete(instance);
    this.#alarms = this.#alarms.filter((alarm) => !alarms.includes(alarm));
  }

  /** Whether there is something that the control plane has not taken yet. */
  get hasNews(): boolean {
    return this.#untold.size + this.#ended.size + this.#alarms.length > 0;
  }

  /** Tells everything anew, to a control plane that may know nothing. */
  tellAll(): void {
    for (const instance of this.#statuses.keys()) this.#untold.add(instance);
  }

  /** Instances have ended, whether or not they are here still. */
  end(instances: readonly string[]): void {
    for (const instance of instances) {
      clearTimeout(this.#absent.get(instance));
      this.#absent.delete(instance);
      this.#present.delete(instance);
      this.#statuses.delete(instance);
      this.#untold.delete(instance);
      if (this.#isRegistered(instance)) this.#ended.add(instance);
    }
  }

  /** Stops waiting for absent sidecars, also for those that leave from now on. */
  close(): void {
    this.#isClosed = true;
    for (const timer of this.#absent.values()) clearTimeout(timer);
    this.#absent.clear();
  }

  #note(status: FollowerStatus): void {
    this.#statuses.set(status.instance, status);
    this.#untold.add(status.instance);
  }

  #leave(instance: string): void {
    const streams = (this.#present.get(instance) ?? 1) - 1;
    if (streams > 0) {
      this.#present.set(instance, streams);
      return;
    }
    this.#present.delete(instance);
    // Out of the routes at once; out of the log only when it does not come back.
    const status = this.#statuses.get(instance);
    if (status !== undefined) this.#note({ ...status, address: "" });
    this.#await(instance, this.#absenceMillis);
  }

  #await(instance: string, withinMillis: number): void {
    if (this.#isClosed) return;
    const timer = setTimeout(() => {
      this.#absent.delete(instance);
      this.#statuses.delete(instance);
      this.#untold.delete(instance);
      if (this.#isRegistered(instance)) this.#ended.add(instance);
    }, withinMillis);
    this.#absent.set(instance, timer);
  }
}

function isBounded(status: FollowerStatus): boolean {
  const { service, address, adminAddress, outboundAddress, role, softwareVersion } = status;
  const { stoppedReason, tokenAudience } = status;
  const { health = "", healthReason = "" } = status.resources ?? {};
  const texts = [service, address, adminAddress, outboundAddress, role, softwareVersion, stoppedReason];
  return (
    isBoundedAdvertisement(status.advertisement) &&
    status.called.length <= calledMax &&
    [...texts, tokenAudience, health, healthReason].every(({ length }) => length <= addressCharactersMax) &&
    status.called.every(({ instance }) => uuidPattern.test(instance))
  );
}
