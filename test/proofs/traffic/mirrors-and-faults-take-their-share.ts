import { type AskedOnce, openLoopLoad, quantile } from "../../apparatus/open-loop-load.ts";
import { type TrafficMesh, trafficMesh } from "../../apparatus/traffic-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

const requestsPerSecond = 200;
const secondsShort = 3;
const secondsFull = 30;
const mirrorPercent = 25;
const faultPercent = 10;
const delayPercent = 20;
const delayMillis = 150;

export const claim: Claim = {
  text: "a mirror gets its share of the requests and, however slow or broken it is, costs the original nothing; faults are injected into their share",
  uses: [trafficMesh],
  run: async (context) => {
    const mesh = await trafficMesh.get();
    await using _ = { [Symbol.asyncDispose]: () => mesh.unpolice() };
    const seconds = context.isFull ? secondsFull : secondsShort;
    const mirror = { to: mesh.shadow.name, percent: mirrorPercent };
    await mesh.police({ [mesh.leaf.name]: { routes: [{ mirror }] } });
    const copied = await load(mesh, seconds);
    const copies = mesh.shadow.seen;
    // One third never answers, one breaks off, one answers 500.
    let seen = 0;
    mesh.shadow.answer = (_request, response) => {
      seen += 1;
      if (seen % 3 === 0) response.socket?.destroy();
      else if (seen % 3 === 1) response.writeHead(500).end();
    };
    const beside = await load(mesh, seconds);
    await mesh.police({ [mesh.leaf.name]: { routes: [{ fault: { percent: faultPercent, status: 503 } }] } });
    const faulty = await load(mesh, seconds);
    const injected = faulty.asked.filter(({ body }) => body.includes("fault-injected")).length;
    await mesh.police({ [mesh.leaf.name]: { routes: [{ fault: { percent: delayPercent, delayMillis } }] } });
    const held = await load(mesh, seconds);
    const late = held.asked.filter((one) => one.endedMillis - one.sentMillis >= delayMillis).length;

    const percent = (part: number, { requests }: { requests: number }): string =>
      `${((100 * part) / requests).toFixed(1)} %`;
    const figure = [
      `of ${copied.requests} requests ${percent(copies, copied)} (of ${mirrorPercent} %) came to the mirror`,
      `beside one that stalls, breaks off and fails ${beside.failures} of ${beside.requests} requests failed, with p99 ${beside.p99.toFixed(0)} ms after ${copied.p99.toFixed(0)} ms`,
      `${percent(injected, faulty)} (of ${faultPercent} %) were answered by a fault, and ${percent(late, held)} (of ${delayPercent} %) took ${delayMillis} ms or more`,
    ].join("; ");
    const problems = [
      !isShare(copies, copied.requests, mirrorPercent) && "another share is mirrored",
      copied.failures + beside.failures > 0 && "a mirror fails the original",
      !isShare(injected, faulty.requests, faultPercent) && "another share is answered by faults",
      faulty.failures !== injected && "something else failed",
      !isShare(late, held.requests, delayPercent) && "another share is held up",
      held.failures > 0 && "what is held up fails",
    ].filter((problem) => problem !== false);
    return problems.length === 0 ? ok(figure) : failed(`${problems.join(", ")}: ${figure}`);
  },
};

async function load(
  mesh: TrafficMesh,
  seconds: number,
): Promise<{ requests: number; failures: number; asked: AskedOnce[]; p99: number }> {
  mesh.shadow.seen = 0;
  const asked: AskedOnce[] = [];
  const endMillis = performance.now() + seconds * 1000;
  const { requests, failures } = await openLoopLoad({
    outboundAddress: mesh.front.outboundAddress,
    host: mesh.leaf.host,
    requestsPerSecond,
    isOver: () => performance.now() > endMillis,
    onEnd: (one) => asked.push(one),
  });
  const latencies = asked
    .map(({ sentMillis, endedMillis }) => endedMillis - sentMillis)
    .sort((left, right) => left - right);
  return { requests, failures, asked, p99: quantile(latencies, 0.99) };
}

/** Whether a count is within five standard deviations of its share; what a machine holds up by itself counts besides. */
function isShare(count: number, of: number, percent: number): boolean {
  const expected = (of * percent) / 100;
  return Math.abs(count - expected) < 5 * Math.sqrt(expected * (1 - percent / 100)) + 2;
}
