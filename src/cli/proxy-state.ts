import type { FollowerStatus } from "../protocol/index.ts";
import { durationOf } from "./output.ts";

/** An epoch comes every 10 s; who has had none for this long is not following any more. */
const staleSecondsMin = 30;

/** How a proxy stands towards the trust log. */
export type ProxyState = "synced" | "behind" | "stale" | "silent" | "draining";

/** Judges what a proxy last reported; one that never did is silent. */
export function proxyStateOf(
  follower: FollowerStatus | undefined,
  size: number,
  isDraining: boolean,
): ProxyState {
  if (follower === undefined) return "silent";
  if (isDraining) return "draining";
  if (follower.stalenessSeconds >= staleSecondsMin) return "stale";
  return Number(follower.size) < size ? "behind" : "synced";
}

/** The state in one cell: `SYNCED`, `BEHIND 3`, `STALE 34 s`. */
export function proxyStateText(
  state: ProxyState,
  follower: FollowerStatus | undefined,
  size: number,
): string {
  const word = state.toUpperCase();
  if (state === "behind") return `${word} ${size - Number(follower?.size ?? 0)}`;
  return state === "stale" ? `${word} ${durationOf(follower?.stalenessSeconds ?? 0)}` : word;
}
