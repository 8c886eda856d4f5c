import { setTimeout as sleep } from "node:timers/promises";
import { openInspectedPair, toldOf } from "../../apparatus/inspected-pair.ts";
import type { SidecarHoldings } from "../../apparatus/inspected-sidecar.ts";
import { canSeeProcesses } from "../../apparatus/marked-processes.ts";
import { MixedTraffic } from "../../apparatus/mixed-traffic.ts";
import { slopeOf } from "../../apparatus/slope.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const parallel = 24;
const requestsPerSecond = 300;
const short = { minutes: 0, cycles: 9, requests: 300, warmUp: 1_500 };
const full = { minutes: 30, cycles: 9, requests: 6_000, warmUp: 18_000 };
/** What a sidecar may have grown by at the upper end of the interval; a stream that stays for ever is a kibibyte at least. */
const grownBytesMax = 3 * 2 ** 20;
/** Clients that went away without a reset have been noticed by then. */
const restMillis = 4_000;
const settleMillis = 1_000;
const descriptorsMore = 4;

export const claim: Claim = {
  text: "mixed traffic (HTTP/1.1, HTTP/2, gRPC, new connections, clients that leave, applications that reset) leaves nothing behind in either sidecar (--full: half an hour)",
  limitSeconds: 2_400,
  run: async ({ isFull, note }) => {
    if (!canSeeProcesses()) return skipped("looking at descriptors takes procfs");
    const { minutes, cycles, requests, warmUp } = isFull ? full : short;
    await using pair = await openInspectedPair();
    using traffic = new MixedTraffic(pair.caller.outboundAddress, pair.host);
    const started = performance.now();
    await traffic.run(warmUp, parallel);
    const perSecond = warmUp / ((performance.now() - started) / 1000);

    const sidecars = [pair.caller, pair.callee];
    await sleep(restMillis);
    const before = await pair.holdings();
    const points = sidecars.map((): [number, number][] => []);
    const requestsBefore = traffic.requests;
    const endMillis = performance.now() + minutes * 60_000;
    for (let cycle = 1; cycle <= cycles || performance.now() < endMillis; cycle += 1) {
      await traffic.run(requests, parallel, Math.min(requestsPerSecond, perSecond / 2));
      await sleep(settleMillis);
      const now = await pair.holdings();
      for (const [place, { heapBytes }] of now.entries())
        points[place]?.push([traffic.requests - requestsBefore, heapBytes]);
      if (isFull) note(`${traffic.requests} requests: ${now.map(toldOf).join("; ")}`);
    }
    await sleep(restMillis);
    const after = await pair.holdings();
    const verdicts = sidecars.map(({ service }, place) => {
      const [first, last] = [before[place], after[place]];
      if (first === undefined || last === undefined) throw new Error("nothing was seen");
      return judge(service, points[place] ?? [], { first, last });
    });
    const figure = [
      `${traffic.requests} requests in ${((performance.now() - started) / 60_000).toFixed(1)} min, ${Math.round(perSecond)} a second at most`,
      ...verdicts.map(({ text }) => text),
      `${traffic.surprises.length} ended otherwise than they should`,
    ].join("; ");
    if (traffic.surprises.length > 0) return failed(`${figure}: ${traffic.surprises.slice(0, 5).join(", ")}`);
    return verdicts.every(({ isFlat }) => isFlat) ? ok(figure) : failed(figure);
  },
};

/** Whether what a sidecar holds does not grow with the requests. */
function judge(
  service: string,
  points: readonly (readonly [number, number])[],
  { first, last }: { readonly first: SidecarHoldings; readonly last: SidecarHoldings },
): { readonly isFlat: boolean; readonly text: string } {
  const slope = slopeOf(points);
  const requests = (points.at(-1)?.[0] ?? 0) - (points[0]?.[0] ?? 0);
  const isFlat =
    slope.high * requests <= grownBytesMax &&
    last.descriptors <= first.descriptors + descriptorsMore &&
    last.sockets <= first.sockets + descriptorsMore &&
    last.timers <= first.timers + descriptorsMore;
  const interval = `${slope.perUnit.toFixed(1)} bytes a request (95 %: ${slope.low.toFixed(1)} to ${slope.high.toFixed(1)})`;
  const text = `${service} grew by ${interval}, from ${toldOf(first)} to ${toldOf(last)}`;
  return { isFlat, text };
}
