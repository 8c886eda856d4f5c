import { setTimeout as sleep } from "node:timers/promises";
import { CalmLoad } from "../../apparatus/calm-load.ts";
import { type LastingCall, openStream, openWebSocket } from "../../apparatus/lasting-call.ts";
import { type LoadReport, openLoopLoad } from "../../apparatus/open-loop-load.ts";
import {
  apparatus,
  openMesh,
  openService,
  type RunningMesh,
  statusOf,
  troth,
} from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

const requestsPerSecond = 500;
const upgradesShort = 3;
const upgradesFull = 10;
const socketsPerUpgrade = 3;
const betweenMillis = 1_500;
const endMillisMax = 30_000;
const host = "callee.proof.mesh";
const services = ["/proof/callee", "/proof/caller"] as const;

/** Half of the requests are POSTs, which no client may send again. */
export const claim: Claim = {
  text: "the sidecars of caller and callee replaced again and again under 500 requests/s: no request fails, and open WebSockets and streams stay open (--full: ten times)",
  limitSeconds: 600,
  run: async ({ isFull, note }) => {
    const upgrades = isFull ? upgradesFull : upgradesShort;
    await using mesh = await openMesh({ kind: "up" });
    const app = { command: apparatus("lasting-app.ts") };
    await using _callee = await openService(mesh, services[0], app);
    await using caller = await openService(mesh, services[1], app);
    const allowed = await troth(mesh.path, "allow", services[1], services[0]);
    if (allowed.code !== 0) return failed(`troth allow: ${allowed.stderr}`);
    const { outboundAddress } = caller;

    const calm = new CalmLoad();
    const over = new AbortController();
    const half = { outboundAddress, host, requestsPerSecond: requestsPerSecond / 2, growsSlowly: true };
    const isOver = (): boolean => over.signal.aborted;
    const loads = Promise.all([
      openLoopLoad({ ...half, isOver, onEnd: (asked) => calm.note(asked) }),
      openLoopLoad({ ...half, isOver, body: JSON.stringify({ amount: 1 }) }),
    ]);
    const lasting: LastingCall[] = [];
    let problem: string | undefined;
    try {
      await calm.untilCalm();
      for (let round = 0; round < upgrades && problem === undefined; round += 1) {
        for (let count = 0; count < socketsPerUpgrade; count += 1)
          lasting.push(await openWebSocket(outboundAddress, host), await openStream(outboundAddress, host));
        problem = await replaceBoth(mesh);
        await sleep(betweenMillis);
        note(`${round + 1} of ${upgrades} upgrades`);
      }
    } finally {
      over.abort();
    }
    const reports = await loads;
    const broken = lasting.flatMap((one) => one.broken ?? []);
    const messages = lasting.map((one) => one.messages);
    for (const one of lasting) one.end();
    if (problem !== undefined) return failed(problem);

    const figure = figureOf(reports, { upgrades, lasting: lasting.length, messages });
    const failures = reports.flatMap(({ seen }) => seen);
    if (failures.length > 0) return failed(`${failures.join("; ")}: ${figure}`);
    if (broken.length > 0)
      return failed(
        `${broken.length} WebSockets or streams broke (${[...new Set(broken)].join(", ")}): ${figure}`,
      );
    if (messages.some((count) => count < 10)) return failed(`one that is open carries nothing: ${figure}`);
    const left = await untilAlone(mesh.path);
    if (left !== 2)
      return failed(`${left - 2} replaced sidecars have not ended although nothing is left: ${figure}`);
    return ok(figure);
  },
};

async function replaceBoth(mesh: RunningMesh): Promise<string | undefined> {
  for (const service of services) {
    const { code, stderr } = await troth(mesh.path, "proxy", "replace", service);
    if (code !== 0) return `troth proxy replace: ${stderr}`;
  }
  return undefined;
}

/** How many sidecars there are once those that were replaced have ended. */
async function untilAlone(path: string): Promise<number> {
  const deadline = performance.now() + endMillisMax;
  for (;;) {
    const { instances } = await statusOf(path);
    if (instances.length <= services.length || performance.now() > deadline) return instances.length;
    await sleep(500);
  }
}

function figureOf(
  reports: readonly LoadReport[],
  { upgrades, lasting, messages }: { upgrades: number; lasting: number; messages: readonly number[] },
): string {
  const requests = reports.reduce((sum, one) => sum + one.requests, 0);
  const failures = reports.reduce((sum, one) => sum + one.failures, 0);
  const seconds = Math.max(...reports.map((one) => one.seconds));
  const p99 = Math.max(...reports.map((one) => one.millisP99));
  const longest = Math.max(...messages) / 10;
  return (
    `${upgrades} upgrades of both sidecars, ${requests} requests (${(requests / seconds).toFixed(0)}/s), ` +
    `${failures} failed, 99 % within ${p99.toFixed(0)} ms; ${lasting} WebSockets and streams open through it, the ` +
    `longest for ${longest.toFixed(0)} s, 0 broken`
  );
}
