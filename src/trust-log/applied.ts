import type { Result } from "../base/result.ts";
import type { TrustState } from "./trust-state.ts";

/** What came of an entry whose author was entitled to it. */
export type Applied = Result<true, "malformed-body" | "conflict" | "state-digest-mismatch">;

/** Whether a moment is over, by epoch time. */
export function isPast(state: TrustState, atSeconds: number): boolean {
  return atSeconds < epochSeconds(state);
}

/** The time of the last epoch: the only time that the fold knows. */
export function epochSeconds(state: TrustState): number {
  return state.genesis?.epochTimeSeconds ?? 0;
}
