import type { Log } from "../base/log.ts";
import { LogFollower, type PresentedSnapshot, readSnapshot } from "../trust-log/index.ts";
import type { LogMirror } from "./log-mirror.ts";

/** A follower that stands where the copy ends, and the size from which on it was folded. */
export interface TakenUp {
  readonly follower: LogFollower;
  readonly fromSize: number;
}

interface Parts {
  readonly genesis: string;
  readonly snapshot: PresentedSnapshot | undefined;
  readonly log: Log;
}

/**
 * Folds the copy from its snapshot on, or all of it, up to its checkpoint. Undefined where nothing is kept, or what is
 * kept does not lead to its checkpoint: then it is thrown away. A snapshot is believed as little as a relay's: the copy's
 * own epoch entry has to commit to its state, and the root under the checkpoint to its place in the tree.
 */
export async function takeUpCopy(mirror: LogMirror, genesis: string, log: Log): Promise<TakenUp | undefined> {
  if (mirror.newest === undefined) return undefined;
  const snapshot = await mirror.snapshot();
  const taken =
    (snapshot === undefined ? undefined : await takeUp(mirror, { genesis, snapshot, log })) ??
    (await takeUp(mirror, { genesis, snapshot: undefined, log }));
  if (taken === undefined) await mirror.clear();
  return taken;
}

async function takeUp(mirror: LogMirror, parts: Parts): Promise<TakenUp | undefined> {
  const { log } = parts;
  const follower = followerFrom(mirror, parts);
  const step = follower === undefined ? undefined : await mirror.step(follower.size);
  if (follower === undefined || step === undefined) return undefined;
  const taken = follower.take(step);
  const fromSize = step.firstIndex;
  if (!taken.ok) {
    log.warn("copy of the trust log refused", { reason: taken.reason, fromSize });
    return undefined;
  }
  log.info("taken up from the copy of the trust log", { fromSize, size: follower.size });
  return { follower, fromSize };
}

function followerFrom(mirror: LogMirror, { genesis, snapshot, log }: Parts): LogFollower | undefined {
  const anchor = { genesis, logKey: mirror.logKey };
  if (snapshot === undefined) return new LogFollower(anchor, mirror.remembered);
  const read = readSnapshot(snapshot, genesis);
  if (read.ok) return LogFollower.resume(anchor, read.value, mirror.remembered);
  log.warn("snapshot not used", { reason: read.reason });
  return undefined;
}
