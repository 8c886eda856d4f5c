import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { signal } from "./marked-processes.ts";
import type { ProcessRole, StormMesh, StormProcess, UnitName } from "./storm-mesh.ts";

const pauseMillisMin = 2_000;
const pauseMillisMax = 4_000;
const pollMillis = 50;
const backMillisMax = 60_000;

/** A process that was killed. */
export interface Kill extends StormProcess {
  readonly atMillis: number;
  /** When nothing was left of the process and of what ended with it; infinite while that is still to come. */
  goneMillis: number;
  /** When what it did was done again; infinite while that is still to come. */
  backMillis: number;
}

/** Says whether what a process does has been done again since some moment. */
export type IsBack = (killed: StormProcess, sinceMillis: number) => boolean | Promise<boolean>;

const instanceRoles: readonly ProcessRole[] = ["sidecar", "app", "run"];

/** What may be killed: everything but the load generator, which is what is measured with, and its `troth run`. */
const targets: readonly StormProcess[] = [
  { unit: "mesh", role: "control-plane" },
  { unit: "mesh", role: "node-agent" },
  { unit: "mesh", role: "up" },
  { unit: "client", role: "sidecar" },
  ...(["front-1", "front-2", "back-1", "back-2"] as const).flatMap((unit) =>
    instanceRoles.map((role) => ({ unit, role })),
  ),
];

/** Without whom requests could not be answered if the other went too. */
const needed: Readonly<Record<UnitName, UnitName>> = {
  mesh: "client",
  client: "mesh",
  "front-1": "front-2",
  "front-2": "front-1",
  "back-1": "back-2",
  "back-2": "back-1",
};

/**
 * Kills a process drawn by lot every few seconds until `isOver` says so, and follows what becomes of each. Of two
 * instances of a service one is left alone while the other is coming back: with nobody there, nobody can answer. So is
 * the client's only sidecar while those who could give it an identity come back, and they while it does.
 */
export async function killStorm(
  mesh: StormMesh,
  { isOver, isBack }: { readonly isOver: () => boolean; readonly isBack: IsBack },
): Promise<Kill[]> {
  const kills: Kill[] = [];
  const following: Promise<void>[] = [];
  const isAway = (unit: UnitName): boolean =>
    kills.some((kill) => kill.unit === unit && kill.backMillis === Number.POSITIVE_INFINITY);
  // All of them once, in any order, before any of them twice.
  let bag: StormProcess[] = [];
  for (;;) {
    await sleep(randomInt(pauseMillisMin, pauseMillisMax));
    if (isOver()) break;
    if (bag.length === 0) bag = shuffled(targets);
    const at = bag.findIndex(({ unit }) => !isAway(unit) && !isAway(needed[unit]));
    const target = bag[at];
    const pid = target === undefined ? undefined : mesh.pidOf(target);
    if (target === undefined || pid === undefined) continue;
    bag.splice(at, 1);
    const { unit, role } = target;
    const dying = role === "run" || role === "up" || role === "app" ? mesh.pidsOf(unit) : new Set([pid]);
    const kill = { ...target, atMillis: performance.now(), goneMillis: Infinity, backMillis: Infinity };
    signal(pid, "SIGKILL");
    kills.push(kill);
    following.push(follow(mesh, kill, { dying, isBack }));
  }
  await Promise.all(following);
  return kills;
}

async function follow(
  mesh: StormMesh,
  kill: Kill,
  { dying, isBack }: { readonly dying: ReadonlySet<number>; readonly isBack: IsBack },
): Promise<void> {
  const deadline = performance.now() + backMillisMax;
  while (performance.now() < deadline) {
    if (kill.goneMillis === Infinity && !mesh.holds(kill.unit, dying)) kill.goneMillis = performance.now();
    if (kill.goneMillis !== Infinity && (await isBack(kill, kill.goneMillis))) {
      kill.backMillis = performance.now();
      return;
    }
    await sleep(pollMillis);
  }
}

function shuffled<Item>(items: readonly Item[]): Item[] {
  const left = [...items];
  return items.flatMap(() => left.splice(randomInt(left.length), 1));
}
