import { messageOf } from "../../base/mesh-error.ts";
import type { Procfs } from "../../peer-process/index.ts";
import type { AgentPort } from "./agent-port.ts";
import type { WorkloadEntry } from "./entitled-workloads.ts";
import { WorkloadIdentity } from "./workload-identity.ts";

/** So long after the last call that wanted it, an instance is ended; a workload that restarts finds it still there. */
const idleMillisDefault = 60_000;
const identitiesMax = 1_000;
const barredMax = 10_000;

/** The instances that this agent keeps for its callers: one for each entry that somebody asks for. */
export class WorkloadIdentities implements AsyncDisposable {
  readonly #agent: AgentPort;
  readonly #procfs: Procfs;
  readonly #changed: () => void;
  readonly #idleMillis: number;
  readonly #byEntry = new Map<string, WorkloadIdentity>();
  readonly #idle = new Map<WorkloadIdentity, NodeJS.Timeout>();
  /** Processes that had an instance of an entry when it was revoked; they get no other, only their successors do. */
  readonly #barred = new Set<string>();
  #isClosed = false;

  constructor(
    agent: AgentPort,
    { procfs, changed, idleMillis }: { procfs: Procfs; changed: () => void; idleMillis?: number | undefined },
  ) {
    this.#agent = agent;
    this.#procfs = procfs;
    this.#changed = changed;
    this.#idleMillis = idleMillis ?? idleMillisDefault;
  }

  /** How many instances there are. */
  get size(): number {
    return this.#byEntry.size;
  }

  /** What one call wants, until it ends. */
  demand(processes: readonly string[]): Demand {
    return new Demand(this, processes);
  }

  /** Whether one of the processes had an instance of this entry when it was revoked. */
  isBarred(entry: WorkloadEntry, processes: readonly string[]): boolean {
    return processes.some((one) => this.#barred.has(`${one} ${entry.name}`));
  }

  /** The instance of an entry, made if there is none; undefined where there is no room for more. */
  take(entry: WorkloadEntry, processes: readonly string[]): WorkloadIdentity | undefined {
    const identity = this.#living(entry) ?? this.#open(entry);
    if (identity === undefined) return undefined;
    clearTimeout(this.#idle.get(identity));
    this.#idle.delete(identity);
    for (const one of processes) identity.holders.set(one, (identity.holders.get(one) ?? 0) + 1);
    return identity;
  }

  /** Ends what {@link take} began. */
  release(identity: WorkloadIdentity, processes: readonly string[]): void {
    for (const one of processes) {
      const left = (identity.holders.get(one) ?? 1) - 1;
      if (left > 0) identity.holders.set(one, left);
      else identity.holders.delete(one);
    }
    const isInUse = identity.holders.size > 0 || this.#byEntry.get(identity.entry.name) !== identity;
    if (isInUse || this.#isClosed || this.#idle.has(identity)) return;
    this.#idle.set(
      identity,
      setTimeout(() => this.#close(identity), this.#idleMillis),
    );
  }

  /** The log has changed. */
  stepped(): void {
    for (const identity of this.#byEntry.values()) {
      if (identity.isRevoked) this.#bar(identity);
      if (identity.isRevoked || identity.isGone) this.#close(identity);
      else identity.stepped();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const instances = [...this.#byEntry.values()].map(({ instance }) => instance);
    for (const identity of this.#byEntry.values()) this.#close(identity);
    await this.#agent.end(instances);
  }

  /** The one that there is, unless the entry has been changed to speak of another service. */
  #living(entry: WorkloadEntry): WorkloadIdentity | undefined {
    const identity = this.#byEntry.get(entry.name);
    if (identity === undefined || identity.entry.service === entry.service) return identity;
    this.#close(identity);
    return undefined;
  }

  #open(entry: WorkloadEntry): WorkloadIdentity | undefined {
    if (this.#isClosed || this.#byEntry.size >= identitiesMax) return undefined;
    try {
      const identity = new WorkloadIdentity(this.#agent, entry, this.#changed);
      this.#byEntry.set(entry.name, identity);
      return identity;
    } catch (error) {
      this.#agent.log.warn("no instance for a workload", { entry: entry.name, error: messageOf(error) });
      return undefined;
    }
  }

  #close(identity: WorkloadIdentity): void {
    clearTimeout(this.#idle.get(identity));
    this.#idle.delete(identity);
    if (this.#byEntry.get(identity.entry.name) === identity) this.#byEntry.delete(identity.entry.name);
    identity[Symbol.dispose]();
  }

  #bar(identity: WorkloadIdentity): void {
    for (const one of this.#barred) if (!this.#lives(one)) this.#barred.delete(one);
    for (const one of identity.holders.keys())
      if (this.#barred.size < barredMax) this.#barred.add(`${one} ${identity.entry.name}`);
    const { service, name: entry } = identity.entry;
    this.#agent.log.warn("an instance was revoked; who had it gets no other", { entry, service });
  }

  #lives(barred: string): boolean {
    const [pid, startedTicks] = (barred.split(" ")[0] ?? "").split(":");
    return this.#procfs.stat(Number(pid))?.startedTicks === Number(startedTicks);
  }
}

/** The instances that one call has, for as long as it lasts. */
export class Demand implements Disposable {
  readonly #identities: WorkloadIdentities;
  readonly #processes: readonly string[];
  readonly #taken = new Map<string, WorkloadIdentity>();

  constructor(identities: WorkloadIdentities, processes: readonly string[]) {
    this.#identities = identities;
    this.#processes = processes;
  }

  /** The instances of these entries, in their order, and of no others any more; undefined where there is no room. */
  want(entries: readonly WorkloadEntry[]): (WorkloadIdentity | undefined)[] {
    const wanted = entries.map((entry) => this.#identities.take(entry, this.#processes));
    for (const identity of this.#taken.values()) this.#identities.release(identity, this.#processes);
    this.#taken.clear();
    for (const identity of wanted) if (identity !== undefined) this.#taken.set(identity.instance, identity);
    return wanted;
  }

  [Symbol.dispose](): void {
    for (const identity of this.#taken.values()) this.#identities.release(identity, this.#processes);
    this.#taken.clear();
  }
}
