import { setTimeout as sleep } from "node:timers/promises";
import { endpointsOf } from "../../apparatus/known-endpoints.ts";
import { MeshInProcess, until } from "../../apparatus/mesh-in-process.ts";
import { openTimedApp, type TimedApp } from "../../apparatus/timed-app.ts";
import { type Claim, failed, ok } from "../claim.ts";

const service = "/proof/callee";
const instances = 3;
const inFlightMax = 5;
const callers = 60;
const answerMillis = 40;
const loadMillis = 5_000;

/** Four times as many callers as there is room for, none of which waits. */
export const claim: Claim = {
  text: "an application never has more requests of a caller at a time than its traffic policy says; the others are refused at once",
  run: async () => {
    await using mesh = await MeshInProcess.found();
    const caller = await mesh.open("/proof/caller");
    const apps: TimedApp[] = [];
    for (let count = 0; count < instances; count += 1) {
      const app = await openTimedApp(answerMillis);
      apps.push(app);
      await mesh.open(service, { app });
    }
    await mesh.putRule("/proof/caller", service);
    await mesh.put("traffic.put", { service, protocol: "http", inFlightMax, routes: [] });
    await mesh.settled();
    await until(async () => (await endpointsOf(caller, service)).length === instances, "all are known");

    const counts = new Map<string, number>();
    const endMillis = performance.now() + loadMillis;
    await Promise.all(
      Array.from({ length: callers }, async () => {
        while (performance.now() < endMillis) {
          const { status, reason } = await caller.call("callee.proof.mesh");
          const outcome = `${status} ${reason}`.trim();
          counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
          if (status !== 200) await sleep(answerMillis / 2);
        }
      }),
    );

    const peaks = apps.map(({ inFlightPeak }) => inFlightPeak);
    const seen = [...counts].map(([outcome, count]) => `${count} answered ${outcome}`).join(", ");
    const figure = `of ${callers} callers the applications saw ${peaks.join(", ")} at a time at most (allowed: ${inFlightMax}); ${seen}`;
    const isWithin = Math.max(...peaks) <= inFlightMax && Math.min(...peaks) === inFlightMax;
    const areExpected = [...counts.keys()].every((one) => one === "200" || one === "503 overloaded");
    return isWithin && areExpected && counts.size === 2 ? ok(figure) : failed(figure);
  },
};
