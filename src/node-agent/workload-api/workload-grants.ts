import { Code, ConnectError } from "@connectrpc/connect";
import type { Procfs } from "../../peer-process/index.ts";
import type { SvidInUse } from "../../transport/index.ts";
import type { TrustState } from "../../trust-log/index.ts";
import type { AgentPort } from "./agent-port.ts";
import type { WantedFacts } from "./attest-process.ts";
import { Changes } from "./changes.ts";
import type { AttestedCaller, ConnectionCaller, UnknownCaller } from "./connection-caller.ts";
import { entitledTo, type WorkloadEntry, workloadsOn } from "./entitled-workloads.ts";
import { type Demand, WorkloadIdentities } from "./workload-identities.ts";

/** A caller that may have nothing yet is held so long: its entry may be on its way. */
const entryWaitMillisMax = 3_000;
/** A caller that may have several waits so long for all of them before it gets those that are there. */
const issuanceWaitMillisMax = 5_000;
/** More than one process can have a use for. */
const grantsMax = 64;

/** An identity that a caller may have, with what proves it. */
export interface Grant {
  readonly entry: WorkloadEntry;
  readonly spiffeId: string;
  readonly instance: string;
  readonly svid: SvidInUse;
}

/** Says who may have what: follows the log, keeps the instances, and tells every call of what is new for its caller. */
export class WorkloadGrants implements AsyncDisposable {
  readonly changes: Changes = new Changes();
  readonly #agent: AgentPort;
  readonly #identities: WorkloadIdentities;
  readonly #stop: () => void;
  #entries: readonly WorkloadEntry[] = [];
  #wanted: WantedFacts = { sha256: false, kubernetes: false, containers: false };
  /** Of the state that the entries are from. */
  #read: { readonly state: TrustState; readonly size: number } | undefined;

  constructor(agent: AgentPort, procfs: Procfs, idleMillis?: number) {
    this.#agent = agent;
    this.#identities = new WorkloadIdentities(agent, {
      procfs,
      changed: () => this.changes.notify(),
      idleMillis,
    });
    this.#stop = agent.onChange(() => {
      this.#identities.stepped();
      this.changes.notify();
    });
  }

  /** What the agent knows of the trust domain. */
  get state(): TrustState {
    return this.#agent.view().follower.state;
  }

  /** How many instances are kept. */
  get instances(): number {
    return this.#identities.size;
  }

  /**
   * All that a caller may have, first as it is now and then after every change, whether or not it changes that; never
   * nothing. Throws `PermissionDenied` where there is nothing, or nothing any more. `changes` may tell of more.
   */
  async *follow(
    caller: ConnectionCaller,
    signal: AbortSignal,
    changes: Changes = this.changes,
  ): AsyncGenerator<readonly Grant[], void> {
    const { clock } = this.#agent;
    using demands = new DisposableStack();
    let demand: Demand | undefined;
    let hadSome = false;
    const beganMillis = clock.monotonicMillis();
    let pendingSinceMillis: number | undefined;
    while (!signal.aborted) {
      const seen = changes.count;
      const attested = await this.#attest(caller);
      const entries = this.#entriesFor(attested);
      demand ??= demands.use(this.#identities.demand(attested.processes));
      const identities = demand.want(entries);
      const now = clock.monotonicMillis();
      if (entries.length === 0) {
        await changes.after(seen, signal, this.#patience(hadSome, beganMillis));
        continue;
      }
      const grants = identities.flatMap((identity) =>
        identity?.svid === undefined ? [] : [this.#grantOf(identity.entry, identity.instance, identity.svid)],
      );
      pendingSinceMillis = grants.length === entries.length ? undefined : (pendingSinceMillis ?? now);
      const left = pendingSinceMillis === undefined ? 0 : issuanceWaitMillisMax - (now - pendingSinceMillis);
      if (left > 0) {
        await changes.after(seen, signal, left);
        continue;
      }
      if (grants.length === 0)
        throw new ConnectError("an identity is due, and no certificate could be issued", Code.Unavailable);
      hadSome = true;
      yield grants;
      await changes.after(seen, signal);
    }
  }

  /** What a caller may have now, for one call. */
  async once(caller: ConnectionCaller, signal: AbortSignal): Promise<readonly Grant[]> {
    for await (const grants of this.follow(caller, signal)) return grants;
    throw new ConnectError("the call has ended", Code.Canceled);
  }

  /** Yields now and after every change for as long as a caller may have anything; throws as {@link follow} does. */
  async *followRight(caller: ConnectionCaller, signal: AbortSignal): AsyncGenerator<true, void> {
    const beganMillis = this.#agent.clock.monotonicMillis();
    let hadSome = false;
    while (!signal.aborted) {
      const seen = this.changes.count;
      const isEntitled = this.#entriesFor(await this.#attest(caller)).length > 0;
      if (isEntitled) {
        hadSome = true;
        yield true;
      }
      await this.changes.after(seen, signal, isEntitled ? undefined : this.#patience(hadSome, beganMillis));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop();
    await this.#identities[Symbol.asyncDispose]();
  }

  async #attest(caller: ConnectionCaller): Promise<AttestedCaller> {
    this.#refresh();
    const attested = await caller.attest(this.#wanted);
    if (!attested.ok) throw refusalOf(attested.reason, attested.detail);
    return attested.value;
  }

  #entriesFor({ selectors, processes }: AttestedCaller): WorkloadEntry[] {
    this.#refresh();
    return entitledTo(this.#entries, selectors)
      .filter((entry) => !this.#identities.isBarred(entry, processes))
      .slice(0, grantsMax);
  }

  /** How long a caller that may have nothing is held; throws where it is not, or not any longer. */
  #patience(hadSome: boolean, beganMillis: number): number {
    const left = entryWaitMillisMax - (this.#agent.clock.monotonicMillis() - beganMillis);
    if (hadSome || left <= 0) throw new ConnectError("no identity issued", Code.PermissionDenied);
    return left;
  }

  #refresh(): void {
    const { state, size } = this.#agent.view().follower;
    if (this.#read?.state === state && this.#read.size === size) return;
    this.#read = { state, size };
    this.#entries = workloadsOn(state, this.#agent.node);
    const selectors = this.#entries.flatMap((entry) => entry.selectors);
    const speaksOf = (prefix: string): boolean => selectors.some((one) => one.startsWith(prefix));
    this.#wanted = {
      sha256: speaksOf("unix:sha256:"),
      kubernetes: speaksOf("k8s:"),
      containers: speaksOf("docker:"),
    };
  }

  #grantOf(entry: WorkloadEntry, instance: string, svid: SvidInUse): Grant {
    return { entry, spiffeId: `spiffe://${this.#agent.trustDomain()}${entry.service}`, instance, svid };
  }
}

/** A caller whose process changed may try again; one that cannot be known gets nothing until somebody mends that. */
function refusalOf(reason: UnknownCaller, detail: string): ConnectError {
  const isPassing = reason === "changed-meanwhile" || reason === "connection-over";
  return new ConnectError(
    `the caller is not known (${reason}): ${detail}`,
    isPassing ? Code.Unavailable : Code.PermissionDenied,
  );
}
