import type { FollowerStatus } from "../protocol/index.ts";
import { durationOf } from "./output.ts";

/** An epoch comes every 10 s; who has had none for this long is not following any more. */
const staleSecondsMin = 30;

/** How a proxy stands towards the trust log. */
export type ProxyState = "synced" | "behind" | "stale" | "silent" | "draining" | "stopped";

/** Judges what a proxy last reported; one that never did is silent. */
export function proxyStateOf(
  follower: FollowerStatus | undefined,
  size: number,
  isDraining: boolean,
): ProxyState {
  if (follower === undefined) return "silent";
  if (follower.stoppedReason !== "") return "stopped";
  if (isDraining || follower.isRetiring) return "draining";
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
  if (state === "stopped") return `${word} ${follower?.stoppedReason ?? ""}`;
  return state === "stale" ? `${word} ${durationOf(follower?.stalenessSeconds ?? 0)}` : word;
}

/** What a proxy last said of itself, as programs read it: noughts and empty texts where it has said nothing. */
export function proxyFigures(follower: FollowerStatus | undefined): {
  /** `sidecar`, `gateway`, `router` or `export`. */
  readonly role: string;
  readonly treeSize: number;
  readonly certificateNotAfterSeconds: number;
  readonly requestsForwarded: number;
  readonly requestsRefused: number;
  readonly outboundRequests: number;
  readonly address: string;
  readonly adminAddress: string;
  readonly outboundAddress: string;
  /** Empty where the proxy is older than that it would tell. */
  readonly softwareVersion: string;
} {
  return {
    role: roleOf(follower),
    treeSize: Number(follower?.size ?? 0),
    certificateNotAfterSeconds: Number(follower?.certificateNotAfterSeconds ?? 0),
    requestsForwarded: Number(follower?.requestsForwarded ?? 0),
    requestsRefused: Number(follower?.requestsRefused ?? 0),
    outboundRequests: Number(follower?.outboundRequests ?? 0),
    address: follower?.address ?? "",
    adminAddress: follower?.adminAddress ?? "",
    outboundAddress: follower?.outboundAddress ?? "",
    softwareVersion: follower?.softwareVersion ?? "",
  };
}

/** A proxy that is older than roles is a sidecar. */
function roleOf(follower: FollowerStatus | undefined): string {
  if (follower === undefined) return "";
  return follower.role === "" ? "sidecar" : follower.role;
}

/** A version that was told; the first ones tell none. */
export function versionText(version: string): string {
  return version === "" ? "older" : version;
}
