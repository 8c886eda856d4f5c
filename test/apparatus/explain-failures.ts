import type { Kill } from "./kill-storm.ts";
import type { AskedOnce } from "./open-loop-load.ts";
import type { Arrival, UnitName } from "./storm-mesh.ts";

/** Between a signal and what is seen of it. */
const signalMillisMax = 50;
/**
 * For how long the load generator may go on writing to a connection that has ended, for not having looked. Only such a
 * connection is reset: what waits in the kernel for the next process is not.
 */
const resetMillisMax = 500;
/** How long others may take to see that somebody is back. */
const noticeMillisMax = 1_000;

/** Why a request failed. */
export type Explanation =
  /** A process on its path was killed while the request was there. */
  | { readonly kind: "in-flight" }
  /** It was sent while a process that it could have passed was being replaced. */
  | { readonly kind: "away"; readonly how: string }
  | { readonly kind: "unexplained"; readonly how: string };

/** Explains a failed request by what was killed on its way, as far as the applications that it reached tell the way. */
export function explainFailure(
  asked: AskedOnce,
  { kills, arrivals }: { readonly kills: readonly Kill[]; readonly arrivals: readonly Arrival[] },
): Explanation {
  const path = pathOf(arrivals.map(({ unit }) => unit));
  const onPath = kills.filter(({ unit }) => path.has(unit));
  const wasThere = onPath.some(
    (kill) => asked.sentMillis <= lastHandedMillis(asked, kill) && asked.endedMillis >= kill.atMillis,
  );
  if (wasThere) return { kind: "in-flight" };
  const away = onPath.find(
    ({ atMillis, backMillis }) =>
      asked.sentMillis >= atMillis && asked.sentMillis <= backMillis + noticeMillisMax,
  );
  const how = howOf(asked);
  return away === undefined
    ? { kind: "unexplained", how: `${how} via ${[...path].join(" ")}, ${lastSeen(asked, arrivals)}` }
    : { kind: "away", how: `${away.unit.replace(/-.$/, "")}'s ${away.role}: ${how}` };
}

/** Until when a request could be handed to a process that was killed. */
function lastHandedMillis({ body }: AskedOnce, { unit, atMillis, goneMillis }: Kill): number {
  const isReset = unit === "client" && /^(read ECONNRESET|write EPIPE|socket hang up)$/.test(body);
  return isReset ? atMillis + resetMillisMax : Math.min(goneMillis, atMillis + signalMillisMax);
}

/** Every unit that the request was in or may have been in. */
function pathOf(arrivals: readonly UnitName[]): ReadonlySet<UnitName> {
  const fronts = arrivals.filter((unit) => unit.startsWith("front"));
  const backs = arrivals.filter((unit) => unit.startsWith("back"));
  const anyFront: readonly UnitName[] = ["front-1", "front-2"];
  const anyBack: readonly UnitName[] = fronts.length === 0 ? [] : ["back-1", "back-2"];
  return new Set<UnitName>([
    "client",
    ...(fronts.length === 0 ? anyFront : fronts),
    ...(backs.length === 0 ? anyBack : backs),
  ]);
}

/** How far it got, and whether it was under way or waited for most of its time. */
function lastSeen({ sentMillis, endedMillis }: AskedOnce, arrivals: readonly Arrival[]): string {
  const last = arrivals.at(-1);
  if (last === undefined) return "never arrived";
  const isLate = last.atMillis - sentMillis > endedMillis - last.atMillis;
  return `${isLate ? "late to arrive" : "unanswered"} at ${last.unit}`;
}

/** What the client saw, without what differs from one request to the next. */
function howOf({ status, body }: AskedOnce): string {
  const reason = /"reason":"([a-z0-9-]+)"/.exec(body)?.[1];
  const code = /\b(E[A-Z]{4,}|socket hang up|aborted|no answer)\b/.exec(body)?.[1];
  return `${status} ${reason ?? code ?? body.slice(0, 80)}`;
}
