import { setTimeout as sleep } from "node:timers/promises";
import { MeshInProcess } from "../../apparatus/mesh-in-process.ts";
import { type ShiftedClock, shiftedClock } from "../../apparatus/shifted-clock.ts";
import { type Claim, failed, ok } from "../claim.ts";

const svidLifetimeSeconds = 6;
/** Far beyond the end of every certificate. */
const jumpSeconds = 7_200;
/** Every certificate is due at least once meanwhile. */
const wrongMillis = 4_000;
const healedMillisMax = 20_000;
const answersInOrder = 10;

/** Each jumps alone, and all of them at once, as on one machine; two hours ahead and back, two hours behind and back. */
export const claim: Claim = {
  text: "the clock of the issuer, of an agent, of the sidecars or of all of them jumps by two hours and back, in either direction, on a mesh whose certificates live seconds; it heals without a hand",
  limitSeconds: 200,
  run: async ({ note }) => {
    const clocks = {
      issuer: shiftedClock(),
      agent: shiftedClock(),
      caller: shiftedClock(),
      callee: shiftedClock(),
    };
    await using mesh = await MeshInProcess.found({
      svidLifetimeSeconds,
      clock: clocks.issuer,
      agentClock: clocks.agent,
    });
    const caller = await mesh.open("/proof/caller", { clock: clocks.caller });
    const callee = await mesh.open("/proof/callee", { clock: clocks.callee });
    await mesh.putRule("/proof/caller", "/proof/callee");
    const works = async (): Promise<boolean> => (await caller.call(callee.host)).status === 200;
    if ((await healedMillis(works)) === undefined) return failed("before any jump: no answers");

    const figures: string[] = [];
    for (const [who, jumping] of [
      ["the issuer's", [clocks.issuer]],
      ["the agent's", [clocks.agent]],
      ["a sidecar's", [clocks.callee]],
      ["every", Object.values(clocks)],
    ] as const)
      for (const direction of [1, -1]) {
        const says = `${who} clock ${direction > 0 ? "ahead" : "behind"}`;
        await jumpAndBack(jumping, direction * jumpSeconds);
        const seconds = await healedMillis(works);
        note(`${says}: ${seconds === undefined ? "no answers" : `${(seconds / 1000).toFixed(1)} s`}`);
        if (seconds === undefined)
          return failed(
            `${says}: no answers; ${(await mesh.alarms()).map(({ reason }) => reason).join(", ")}`,
          );
        figures.push(`${says} ${(seconds / 1000).toFixed(1)} s`);
      }
    const late = await mesh.open("/proof/late", { clock: clocks.callee });
    await mesh.putRule("/proof/caller", "/proof/late");
    const hasJoined = await healedMillis(async () => (await caller.call(late.host)).status === 200);
    if (hasJoined === undefined) return failed("after all jumps: no new instance is called");
    return ok(
      `served again after: ${figures.join(", ")}; a new instance was registered and called after all`,
    );
  },
};

async function jumpAndBack(clocks: readonly ShiftedClock[], seconds: number): Promise<void> {
  for (const clock of clocks) clock.shiftWall(seconds);
  await sleep(wrongMillis);
  for (const clock of clocks) clock.shiftWall(-seconds);
}

/** How long it took to the first of so many answers in order; undefined where they do not come. */
async function healedMillis(works: () => Promise<boolean>): Promise<number | undefined> {
  const started = performance.now();
  let firstMillis = 0;
  for (let inOrder = 0; inOrder < answersInOrder; ) {
    const isAnswered = await works();
    const passedMillis = performance.now() - started;
    if (inOrder === 0) firstMillis = passedMillis;
    inOrder = isAnswered ? inOrder + 1 : 0;
    if (passedMillis > healedMillisMax) return undefined;
    await sleep(isAnswered ? 20 : 100);
  }
  return firstMillis;
}
