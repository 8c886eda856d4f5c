import type net from "node:net";
import { fail, ok, type Result } from "../../base/result.ts";
import type { CallerRefusal, LocalCaller } from "../../peer-process/index.ts";
import { type AttestationSources, attestCaller, isStillThere, type WantedFacts } from "./attest-process.ts";

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

/** Finds out once who is at the other end, and looks again before anything is pushed. */
export class AttestedConnection implements ConnectionCaller {
  readonly #socket: net.Socket;
  readonly #identify: IdentifyCaller;
  readonly #sources: AttestationSources;
  #identified: Promise<Result<LocalCaller, CallerRefusal>> | undefined;
  readonly #attested = new Map<string, AttestedCaller>();

  constructor(socket: net.Socket, identify: IdentifyCaller, sources: AttestationSources) {
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
    if (known !== undefined) {
      if (isStillThere(caller, this.#sources.procfs)) return ok(known);
      return fail("other-process", "the caller's process is not the one that it was");
    }
    const selectors = await attestCaller(caller, wanted, this.#sources);
    if (!selectors.ok) return selectors;
    const processes = caller.processes.map(({ pid, startedTicks }) => `${pid}:${startedTicks}`);
    const attested = { selectors: selectors.value, processes };
    // What a cluster cannot say now it may say soon: a caller is not nobody for as long as its connection lasts.
    const isWhole = !wanted.more || this.#sources.more === undefined || hasMore(selectors.value);
    if (isWhole) this.#attested.set(name, attested);
    return ok(attested);
  }
}

function hasMore(selectors: ReadonlySet<string>): boolean {
  return [...selectors].some((selector) => !selector.startsWith("unix:"));
}
