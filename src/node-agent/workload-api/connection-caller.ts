import type net from "node:net";
import type { Clock } from "../../base/clock.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import type { CallerRefusal, LocalCaller } from "../../peer-process/index.ts";
import { type AttestationSources, attestCaller, isStillThere, type WantedFacts } from "./attest-process.ts";

/** So long what a cluster has said of a pod counts on an open connection, where the cluster is asked about pods. */
const podAgeMillisMax = 30_000;

/** Tells which processes have the other end of an accepted connection open. */
export type IdentifyCaller = (socket: net.Socket) => Promise<Result<LocalCaller, CallerRefusal>>;

/** Why a caller is nobody. */
export type UnknownCaller = CallerRefusal | "other-process";

/** What is known of a caller: what it is, and by which names its processes are remembered. */
export interface AttestedCaller {
  readonly selectors: ReadonlySet<string>;
  /** A pid and when it started; the same pair never means another process. */
  readonly processes: readonly string[];
}

/** The caller at the other end of one connection. */
export interface ConnectionCaller {
  /** What the caller is, as far as `wanted` asks; refuses once its process is not the one that it was. */
  readonly attest: (wanted: WantedFacts) => Promise<Result<AttestedCaller, UnknownCaller>>;
}

/** What a connection's caller is looked up in. */
export interface ConnectionSources extends AttestationSources {
  /** Whether a cluster is asked about pods, and so may take back what it said. */
  readonly isReviewed?: boolean;
  readonly clock: Pick<Clock, "monotonicMillis">;
}

/** Finds out once who is at the other end, and looks again before anything is pushed. */
export class AttestedConnection implements ConnectionCaller {
  readonly #socket: net.Socket;
  readonly #identify: IdentifyCaller;
  readonly #sources: ConnectionSources;
  #identified: Promise<Result<LocalCaller, CallerRefusal>> | undefined;
  readonly #attested = new Map<string, { readonly caller: AttestedCaller; readonly atMillis: number }>();

  constructor(socket: net.Socket, identify: IdentifyCaller, sources: ConnectionSources) {
    this.#socket = socket;
    this.#identify = identify;
    this.#sources = sources;
  }

  async attest(wanted: WantedFacts): Promise<Result<AttestedCaller, UnknownCaller>> {
    this.#identified ??= this.#identify(this.#socket);
    const identified = await this.#identified;
    if (!identified.ok) {
      this.#identified = undefined;
      return identified;
    }
    const caller = identified.value;
    const name = JSON.stringify(wanted);
    const known = this.#attested.get(name);
    const nowMillis = this.#sources.clock.monotonicMillis();
    if (known !== undefined && !(wanted.kubernetes && this.#isOld(nowMillis - known.atMillis))) {
      if (isStillThere(caller, this.#sources.procfs)) return ok(known.caller);
      return fail("other-process", "the caller's process is not the one that it was");
    }
    this.#attested.delete(name);
    const selectors = await attestCaller(caller, wanted, this.#sources);
    if (!selectors.ok) return selectors;
    const processes = caller.processes.map(({ pid, startedTicks }) => `${pid}:${startedTicks}`);
    const attested = { selectors: selectors.value, processes };
    // What a cluster cannot say now it may say soon: a caller is not nobody for as long as its connection lasts.
    const isMissing =
      (wanted.kubernetes && !hasSome(selectors.value, "k8s:")) ||
      (wanted.containers && !hasSome(selectors.value, "docker:"));
    if (!isMissing) this.#attested.set(name, { caller: attested, atMillis: nowMillis });
    return ok(attested);
  }

  /** Pods are deleted while their processes live on for a moment, or for as long as they like. */
  #isOld(ageMillis: number): boolean {
    return this.#sources.isReviewed === true && ageMillis >= podAgeMillisMax;
  }
}

function hasSome(selectors: ReadonlySet<string>, prefix: string): boolean {
  return [...selectors].some((selector) => selector.startsWith(prefix));
}
