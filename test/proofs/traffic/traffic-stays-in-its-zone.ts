import { setTimeout as sleep } from "node:timers/promises";
import { configOf, endpointsOf } from "../../apparatus/known-endpoints.ts";
import { MeshInProcess, until } from "../../apparatus/mesh-in-process.ts";
import { openLoopLoad } from "../../apparatus/open-loop-load.ts";
import { openTimedApp, type TimedApp } from "../../apparatus/timed-app.ts";
import { type Claim, failed, ok } from "../claim.ts";

const service = "/proof/callee";
const instancesPerZone = 3;
const requestsPerSecond = 100;
const phaseMillis = 3_000;
const waitMillisMax = 30_000;
const answerMillis = 5;

/** Two nodes in two zones; the applications in the caller's zone end, and are started again. */
export const claim: Claim = {
  text: "requests stay in the caller's zone until what runs there fails, go elsewhere then, and come back by themselves",
  run: async () => {
    await using mesh = await MeshInProcess.found();
    const there = await mesh.joinNode("there");
    const caller = await mesh.open("/proof/caller");
    const near: TimedApp[] = [];
    const far: TimedApp[] = [];
    for (let count = 0; count < instancesPerZone; count += 1) {
      near.push(await openTimedApp(answerMillis));
      far.push(await openTimedApp(answerMillis));
    }
    for (const app of near) await mesh.open(service, { app });
    for (const app of far) await mesh.open(service, { app, agentSocketPath: there });
    await mesh.put("node.zone", { node: "here", zone: "east" });
    await mesh.put("node.zone", { node: "there", zone: "west" });
    await mesh.putRule("/proof/caller", service);
    await mesh.settled();
    await until(async () => (await endpointsOf(caller, service)).length === 2 * instancesPerZone);
    await until(async () => (await configOf(caller)).zone === "east");

    let isOver = false;
    const load = openLoopLoad({
      outboundAddress: caller.sidecar.outboundAddress,
      host: "callee.proof.mesh",
      requestsPerSecond,
      isOver: () => isOver,
    });
    const restarted: TimedApp[] = [];
    const home = (): number => total(near) + total(restarted);
    try {
      await sleep(phaseMillis);
      const before = { home: home(), away: total(far) };
      for (const app of near) await app.kill();
      const failedAtMillis = performance.now();
      const isAway = await whether(() => total(far) > before.away + requestsPerSecond / 10);
      const awayMillis = performance.now() - failedAtMillis;
      await sleep(phaseMillis);

      for (const { port } of near) restarted.push(await openTimedApp(answerMillis, port));
      const startedAtMillis = performance.now();
      const isHome = await whether(() => total(restarted) > requestsPerSecond / 10);
      const homeMillis = performance.now() - startedAtMillis;
      await sleep(1_000);
      const back = { home: home(), away: total(far) };
      await sleep(phaseMillis);
      const after = { home: home() - back.home, away: total(far) - back.away };
      isOver = true;
      const { requests, failures, seen } = await load;

      const share = (part: { home: number; away: number }): string =>
        `${((part.home / Math.max(1, part.home + part.away)) * 100).toFixed(1)} %`;
      const figure = `${share(before)} stayed in the zone; ${awayMillis.toFixed(0)} ms after it failed a tenth of a second's requests had been answered elsewhere; ${homeMillis.toFixed(0)} ms after it was back they were at home again, then ${share(after)}; ${failures} of ${requests} lost`;
      const holds = before.away === 0 && isAway && isHome && after.away === 0 && failures <= instancesPerZone;
      return holds ? ok(figure) : failed(`${figure} ${seen.join("; ")}`);
    } finally {
      isOver = true;
      await load;
      for (const app of restarted) await app[Symbol.asyncDispose]();
    }
  },
};

function total(apps: readonly TimedApp[]): number {
  return apps.reduce((sum, { requests }) => sum + requests, 0);
}

async function whether(isSo: () => boolean): Promise<boolean> {
  const deadline = performance.now() + waitMillisMax;
  while (!isSo()) {
    if (performance.now() > deadline) return false;
    await sleep(10);
  }
  return true;
}
