import { setTimeout as sleep } from "node:timers/promises";
import { CalmLoad } from "../../apparatus/calm-load.ts";
import { endpointOf, endpointsOf } from "../../apparatus/known-endpoints.ts";
import { MeshInProcess, until } from "../../apparatus/mesh-in-process.ts";
import { type AskedOnce, openLoopLoad, quantile } from "../../apparatus/open-loop-load.ts";
import { openTimedApp, type TimedApp } from "../../apparatus/timed-app.ts";
import type { Workload } from "../../apparatus/workload.ts";
import { type Claim, failed, ok } from "../claim.ts";

const service = "/proof/callee";
const instances = 10;
const usualMillis = 10;
const slowMillis = 300;
const requestsPerSecond = 200;
const phaseMillis = 3_000;
const waitMillisMax = 120_000;
const ejectSeconds = 6;

/** The caller's proxy is asked again and again how it sees the slow one. */
export const claim: Claim = {
  text: "of ten instances one answers thirty times slower: callers' proxies find it, leave it out, try it, and take it back once it is fast",
  run: async ({ note }) => {
    await using mesh = await MeshInProcess.found();
    const caller = await mesh.open("/proof/caller");
    const apps: TimedApp[] = [];
    const workloads: Workload[] = [];
    for (let count = 0; count < instances; count += 1) {
      const app = await openTimedApp(usualMillis);
      apps.push(app);
      workloads.push(await mesh.open(service, { app }));
    }
    await mesh.putRule("/proof/caller", service);
    const outliers = { consecutiveFailures: 5, ejectSeconds, ejectSecondsMax: 60, ejectPercentMax: 10 };
    await mesh.put("traffic.put", { service, protocol: "http", outliers, routes: [] });
    await mesh.settled();
    await until(async () => (await endpointsOf(caller, service)).length === instances, "all are known");
    const [slow] = workloads;
    const [slowApp] = apps;
    if (slow === undefined || slowApp === undefined) return failed("no instance");

    const asked: AskedOnce[] = [];
    const calm = new CalmLoad();
    let isOver = false;
    const load = openLoopLoad({
      outboundAddress: caller.sidecar.outboundAddress,
      host: slow.host,
      requestsPerSecond,
      isOver: () => isOver,
      growsSlowly: true,
      onEnd: (one) => {
        asked.push(one);
        calm.note(one);
      },
    });
    try {
      await sleep(phaseMillis);
      await calm.untilCalm();
      await sleep(phaseMillis);
      const slowAtMillis = performance.now();
      slowApp.millis = slowMillis;
      const outAtMillis = await whenIs(caller, slow, "out");
      if (outAtMillis === undefined) {
        const p90 = millisAt(0.9, asked, slowAtMillis, performance.now()).toFixed(0);
        return failed(`not ejected within ${waitMillisMax / 1000} s; nine of ten answers took ${p90} ms`);
      }
      const { ejectedFor } = await endpointOf(caller, slow);
      note(`ejected for being ${ejectedFor}`);
      const requestsBefore = slowApp.requests;
      const askedBefore = asked.length;
      await sleep((ejectSeconds * 1000) / 2);
      const whileOut = slowApp.requests - requestsBefore;
      const askedOut = asked.length - askedBefore;
      const endOutMillis = performance.now();

      slowApp.millis = usualMillis;
      const backAtMillis = await whenIs(caller, slow, "in");
      if (backAtMillis === undefined) return failed(`not back within ${waitMillisMax / 1000} s`);
      const backRequests = slowApp.requests;
      const askedBack = asked.length;
      await sleep(phaseMillis);
      const shareBack = (slowApp.requests - backRequests) / (asked.length - askedBack);

      const p99 = (from: number, to: number): string => millisAt(0.99, asked, from, to).toFixed(0);
      const wrong = asked.filter(({ status }) => status !== 200).length;
      const figure = [
        `out ${((outAtMillis - slowAtMillis) / 1000).toFixed(1)} s after it became slow`,
        `${whileOut} of ${askedOut} requests while out`,
        `p99 ${p99(slowAtMillis - phaseMillis, slowAtMillis)} ms before, ${p99(slowAtMillis, outAtMillis)} until out, ${p99(outAtMillis + slowMillis, endOutMillis)} while out`,
        `back ${((backAtMillis - outAtMillis) / 1000).toFixed(1)} s after it went out (out for ${ejectSeconds}), and has ${(shareBack * 100).toFixed(0)} % again`,
        `${wrong} of ${asked.length} failed`,
      ].join("; ");
      const holds = ejectedFor === "slow" && whileOut === 0 && shareBack > 0.03 && wrong === 0;
      return holds ? ok(figure) : failed(figure);
    } finally {
      isOver = true;
      await load;
    }
  },
};

/** When the caller's proxy says that it has put an instance out, or in again; undefined where it does not. */
async function whenIs(
  caller: Workload,
  workload: Workload,
  standing: "in" | "out",
): Promise<number | undefined> {
  const deadline = performance.now() + waitMillisMax;
  while (performance.now() < deadline) {
    if ((await endpointOf(caller, workload)).standing === standing) return performance.now();
    await sleep(50);
  }
  return undefined;
}

function millisAt(share: number, asked: readonly AskedOnce[], from: number, to: number): number {
  const millis = asked
    .filter(({ sentMillis }) => sentMillis >= from && sentMillis < to)
    .map(({ sentMillis, endedMillis }) => endedMillis - sentMillis)
    .sort((left, right) => left - right);
  return quantile(millis, share);
}
