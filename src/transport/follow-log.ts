import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { messageOf } from "../base/mesh-error.ts";
import { fail, ok, type Result } from "../base/result.ts";
import type { EndpointList, Update } from "../protocol/index.ts";
import {
  type IneffectiveEntry,
  type LogAnchor,
  LogFollower,
  type LogStep,
  type PresentedSnapshot,
  type Recovery,
  readSnapshot,
  type StepRefusal,
  type TreeHead,
} from "../trust-log/index.ts";
import { EpochAge } from "./epoch-age.ts";

/** Most bytes of entries that are kept while the checkpoint that covers them has not come yet. */
const unconfirmedBytesMax = 256 * 1024 * 1024;
/** What an entry costs beside its bytes, so that many small ones are bounded too. */
const entryOverheadBytes = 128;
/** The longest entry that a journal or a tile holds (C2SP tlog-tiles). */
const entryBytesMax = 65_535;

/** What is told as a log is followed. */
export interface FollowerEvents {
  /** A step was taken; the state has changed. */
  readonly stepped?: (step: LogStep) => void | Promise<void>;
  readonly endpoints?: (come: EndpointList) => void;
  /** People have said that the log goes on from an earlier size; whoever keeps anything on disk notes it there first. */
  readonly recovered?: (recovery: Recovery) => void | Promise<void>;
  /** An entry without effect is in the log, or a relay sent a step that is none. */
  readonly alarm?: (reason: string, detail: string) => void;
}

/** Why a view did not take an update. */
export type ViewRefusal = StepRefusal | "recovery-refused";

/** What a view asks a relay for. */
export interface FollowFrom {
  readonly fromSize: bigint;
  readonly acceptsSnapshot: boolean;
  /** The newest one that it has; empty before the first. */
  readonly checkpoint: Uint8Array;
}

/**
 * A view of the trust log that is kept up from whatever relay is at hand: the follower, when it last heard of a new
 * epoch, and who waits for it.
 */
export class LogView {
  #anchor: LogAnchor;
  #remembered: TreeHead | undefined;
  readonly #events: FollowerEvents;
  #follower: LogFollower;
  /** From a snapshot that no step has confirmed yet, or of a generation of which none has come yet. */
  #candidate: LogFollower | undefined;
  /** What follows from a recovery that was accepted; from then on nothing of an earlier generation is taken. */
  #recovered: { readonly anchor: LogAnchor; readonly remembered: TreeHead } | undefined;
  /** A snapshot that led nowhere is not asked for again. */
  #isSnapshotUseless = false;
  readonly #clock: Clock;
  #epochAge: EpochAge;
  readonly #waiting = new Set<() => void>();
  #entries: Uint8Array[] = [];
  #entriesBytes = 0;

  constructor(options: {
    anchor: LogAnchor;
    clock: Clock;
    remembered?: TreeHead | undefined;
    events?: FollowerEvents;
    /** One of this anchor that has taken steps already; one that knows nothing, unless given. */
    follower?: LogFollower | undefined;
  }) {
    this.#anchor = options.anchor;
    this.#remembered = options.remembered;
    this.#events = options.events ?? {};
    this.#clock = options.clock;
    this.#follower = options.follower ?? new LogFollower(options.anchor, options.remembered);
    this.#epochAge = new EpochAge(options.clock);
  }

  /** The follower with its state; another one after a snapshot was taken. */
  get follower(): LogFollower {
    return this.#follower;
  }

  /** Why nothing that comes can be taken any more, and what would change that; undefined while it can. */
  get standstill(): string | undefined {
    const { stoppedReason, size } = this.#follower;
    if (stoppedReason === undefined) return undefined;
    const what = stoppedReason === "unknown-kind" ? "it needs a newer version of Troth" : stoppedReason;
    return `stopped before entry ${size} of the trust log: ${what}`;
  }

  /** How old the newest epoch is, on the local monotonic clock: how stale the view may be. */
  get stalenessSeconds(): number {
    return this.#epochAge.seconds;
  }

  /** Forgets what another relay left unfinished, and says what to ask the next one for. */
  begin(): FollowFrom {
    this.#startOver();
    const { size, checkpoint } = this.#follower;
    const isNew = size === 0 && this.#remembered === undefined && this.#recovered === undefined;
    return {
      fromSize: BigInt((this.#candidate ?? this.#follower).size),
      acceptsSnapshot: isNew && !this.#isSnapshotUseless,
      checkpoint: checkpoint?.note ?? new Uint8Array(0),
    };
  }

  /** By how much the wall clock is ahead of the epochs; undefined while that cannot be told. */
  get clockAheadSeconds(): number | undefined {
    return this.#epochAge.clockAheadSeconds;
  }

  /**
   * Takes an update from a relay; a refusal means that the relay is not to be followed any further, unless no relay
   * could help: at a {@link standstill}. From then on steps are passed over, and where others serve is still heard.
   */
  async take(update: Update): Promise<Result<true, ViewRefusal>> {
    switch (update.content.case) {
      case "step":
        return this.#takeStep(update.content.value);
      case "snapshot":
        return this.#takeSnapshot(update.content.value);
      case "recovery":
        return this.#takeRecovery(update.content.value);
      case "endpoints":
        this.#events.endpoints?.(update.content.value);
        return ok(true);
      default:
        return ok(true);
    }
  }

  /** Waits until `isSo` holds after some step, or the time is up; says whether it holds. */
  async waitUntil(isSo: () => boolean, timeoutMillis: number): Promise<boolean> {
    if (isSo()) return true;
    return new Promise<boolean>((resolve) => {
      const finish = (answer: boolean): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve(answer);
      };
      const look = (): void => {
        if (isSo()) finish(true);
      };
      const timer = setTimeout(() => finish(isSo()), timeoutMillis);
      this.#waiting.add(look);
    });
  }

  async #takeStep(part: {
    firstIndex: bigint;
    entries: Uint8Array[];
    checkpoint: Uint8Array;
  }): Promise<Result<true, StepRefusal>> {
    const follower = this.#candidate ?? this.#follower;
    if (follower.stoppedReason !== undefined) return ok(true);
    const expected = follower.size + this.#entries.length;
    if (Number(part.firstIndex) !== expected)
      return this.#refuse("not-the-next-entries", `${part.firstIndex} instead of ${expected}`);
    for (const entry of part.entries) {
      if (entry.byteLength === 0 || entry.byteLength > entryBytesMax)
        return this.#refuse("not-the-next-entries", `an entry of ${entry.byteLength} bytes`);
      this.#entriesBytes += entry.byteLength + entryOverheadBytes;
      if (this.#entriesBytes > unconfirmedBytesMax)
        return this.#refuse("not-the-next-entries", "too much without a checkpoint");
      this.#entries.push(entry);
    }
    if (part.checkpoint.byteLength === 0) return ok(true);

    const step = { firstIndex: follower.size, entries: this.#entries, checkpoint: part.checkpoint };
    this.#entries = [];
    this.#entriesBytes = 0;
    const taken = follower.take(step);
    if (!taken.ok) return this.#refuse(taken.reason, taken.detail);
    this.#follower = follower;
    this.#candidate = undefined;
    if (this.#recovered !== undefined) {
      ({ anchor: this.#anchor, remembered: this.#remembered } = this.#recovered);
      // The epochs that were given up say nothing of those that come.
      this.#epochAge = new EpochAge(this.#clock);
    }
    this.#recovered = undefined;
    const { epochNumber: number = 0, epochTimeSeconds: timeSeconds = 0 } = this.#follower.state.genesis ?? {};
    this.#epochAge.note({ number, timeSeconds });
    this.#report(taken.value);
    await this.#events.stepped?.(step);
    for (const look of this.#waiting) look();
    return ok(true);
  }

  #takeSnapshot(snapshot: PresentedSnapshot): Result<true, StepRefusal> {
    // Nobody who knows a tree already asks for a snapshot: a step from that tree proves more.
    if (this.#follower.size > 0 || this.#remembered !== undefined)
      return this.#refuse("rolled-back", "by a snapshot");
    const read = readSnapshot(snapshot, this.#anchor.genesis);
    if (!read.ok) return this.#refuse("wrong-root", `snapshot: ${read.reason} ${read.detail}`);
    this.#candidate = LogFollower.resume(this.#anchor, read.value);
    return ok(true);
  }

  /** Goes back only where the people that it knows say so; until the new history is here, the old view stays. */
  async #takeRecovery(shown: {
    readonly index: bigint;
    readonly entry: Uint8Array;
  }): Promise<Result<true, ViewRefusal>> {
    const judged = this.#follower.judgeRecovery({
      index: Number(shown.index),
      entry: shown.entry,
      nowSeconds: this.#clock.nowSeconds(),
    });
    if (!judged.ok) return this.#refuse("recovery-refused", `${judged.reason}: ${judged.detail}`);
    const { generation, size, root, logKey } = judged.value;
    await this.#events.recovered?.(judged.value);
    this.#recovered = { anchor: { ...this.#anchor, logKey }, remembered: { size, root } };
    this.#startOver();
    this.#events.alarm?.(
      "log-recovered",
      `generation ${generation}: the log goes on after ${size} entries; ${this.#follower.size - size} that were here no longer count`,
    );
    return ok(true);
  }

  #startOver(): void {
    this.#entries = [];
    this.#entriesBytes = 0;
    const { anchor, remembered } = this.#recovered ?? {};
    this.#candidate = anchor === undefined ? undefined : new LogFollower(anchor, remembered);
  }

  #report(ineffective: readonly IneffectiveEntry[]): void {
    for (const { index, reason, detail } of ineffective)
      this.#events.alarm?.("entry-without-effect", `entry ${index}: ${reason}: ${detail}`);
  }

  #refuse<Reason extends ViewRefusal>(reason: Reason, detail: string): Result<never, Reason> {
    this.#isSnapshotUseless ||= this.#candidate !== undefined && this.#recovered === undefined;
    this.#startOver();
    this.#events.alarm?.(reason, detail);
    return fail(reason, detail);
  }
}

const retryMillisMin = 100;
const retryMillisMax = 1_000;

/** One attempt to follow: connects, hands every update on, and returns or throws when the connection is gone. */
export type FollowOnce = (signal: AbortSignal) => Promise<void>;

/** Keeps following through whatever happens to the relay: backs off between attempts, with jitter, until aborted. */
export async function keepFollowing(
  once: FollowOnce,
  options: { signal: AbortSignal; clock: Clock; random: () => number; log: Log },
): Promise<void> {
  const { signal, clock, random, log } = options;
  let delay = retryMillisMin;
  while (!signal.aborted) {
    const started = clock.monotonicMillis();
    try {
      await once(signal);
    } catch (error) {
      if (!signal.aborted) log.debug("relay lost", { error: messageOf(error) });
    }
    if (clock.monotonicMillis() - started > retryMillisMax) delay = retryMillisMin;
    await pause(delay * (0.5 + random()), signal);
    delay = Math.min(delay * 2, retryMillisMax);
  }
}

function pause(millis: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", finish);
      resolve();
    };
    const timer = setTimeout(finish, millis);
    signal.addEventListener("abort", finish);
    if (signal.aborted) finish();
  });
}
