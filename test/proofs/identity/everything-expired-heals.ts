import { setTimeout as sleep } from "node:timers/promises";
import { authorityInUse } from "../../apparatus/authority-commands.ts";
import { httpCall } from "../../apparatus/http-call.ts";
import { canSeeProcesses, processesMarked, signal } from "../../apparatus/marked-processes.ts";
import { openMesh, openService, type RunningMesh, troth } from "../../apparatus/running-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const svidSeconds = 3;
const intermediateSeconds = 9;
/** Past the end of every certificate, however lately it was renewed. */
const awaySeconds = intermediateSeconds + 2;
const healedMillisMax = 60_000;
const answersInOrder = 30;
const lifetimes = [
  "--svid-lifetime",
  String(svidSeconds),
  "--intermediate-lifetime",
  String(intermediateSeconds),
];

/** First as a laptop whose lid is closed, then as a machine that is switched off. */
export const claim: Claim = {
  text: "a mesh that stood still, and one that was ended, until every certificate and the intermediate had expired heals by itself, with a new intermediate",
  run: async () => {
    if (!canSeeProcesses()) return skipped("finding the processes takes procfs");
    await using folder = await temporaryFolder();
    const asleep = await asleepAndAwake(folder.path);
    if (typeof asleep === "string") return failed(asleep);
    await sleep(awaySeconds * 1000);
    await using mesh = await openMesh({ kind: "up", path: folder.path, args: lifetimes });
    await using pair = await openPair(mesh);
    const started = performance.now();
    const healed = await healedMillis(pair.outboundAddress);
    if (healed === undefined) return failed("started again: no answers");
    const used = await authorityInUse(mesh.path, "intermediate");
    if (used.id === asleep.intermediate) return failed("started again: the expired intermediate is in use");
    const seconds = ((healed - started) / 1000).toFixed(1);
    return ok(
      `${asleep.processes} processes stood still for ${awaySeconds} s and served again ${asleep.seconds} s after; ended for ${awaySeconds} s, they served again ${seconds} s after their applications were up`,
    );
  },
};

interface Asleep {
  readonly processes: number;
  readonly seconds: string;
  /** The one in use in the end. */
  readonly intermediate: string;
}

async function asleepAndAwake(path: string): Promise<Asleep | string> {
  await using mesh = await openMesh({ kind: "up", path, args: lifetimes });
  await using pair = await openPair(mesh);
  const allowed = await troth(mesh.path, "allow", "/proof/caller", "/proof/callee");
  if (allowed.code !== 0) return `troth allow: ${allowed.stderr}`;
  if ((await healedMillis(pair.outboundAddress)) === undefined) return "before: no answers";
  const before = await authorityInUse(mesh.path, "intermediate");
  const pids = [mesh.command.mark, ...pair.marks].flatMap((mark) =>
    processesMarked(mark).map(({ pid }) => pid),
  );
  for (const pid of pids) signal(pid, "SIGSTOP");
  try {
    await sleep(awaySeconds * 1000);
  } finally {
    for (const pid of pids) signal(pid, "SIGCONT");
  }
  const started = performance.now();
  const healed = await healedMillis(pair.outboundAddress);
  if (healed === undefined) return "asleep: no answers";
  const { id } = await authorityInUse(mesh.path, "intermediate");
  if (id === before.id) return "asleep: the expired intermediate is in use";
  return { processes: pids.length, seconds: ((healed - started) / 1000).toFixed(1), intermediate: id };
}

/** The moment of the first of so many answers in order; undefined where they do not come. */
async function healedMillis(address: string): Promise<number | undefined> {
  const deadline = performance.now() + healedMillisMax;
  let first: number | undefined;
  for (let inOrder = 0; inOrder < answersInOrder; ) {
    const { status } = await httpCall({ address, host: "callee.proof.mesh", path: "/" });
    inOrder = status === 200 ? inOrder + 1 : 0;
    if (inOrder === 1) first = performance.now();
    if (performance.now() > deadline) return undefined;
    if (status !== 200) await sleep(100);
  }
  return first;
}

interface Pair extends AsyncDisposable {
  readonly outboundAddress: string;
  readonly marks: readonly string[];
}

async function openPair(mesh: RunningMesh): Promise<Pair> {
  await using stack = new AsyncDisposableStack();
  const callee = stack.use(await openService(mesh, "/proof/callee"));
  const caller = stack.use(await openService(mesh, "/proof/caller"));
  const opened = stack.move();
  return {
    outboundAddress: caller.outboundAddress,
    marks: [callee, caller].map(({ command }) => command.mark),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
