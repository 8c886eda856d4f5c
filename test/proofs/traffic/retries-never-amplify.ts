import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { openLoopLoad } from "../../apparatus/open-loop-load.ts";
import { type TrafficMesh, trafficMesh } from "../../apparatus/traffic-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

const requestsPerSecond = 200;
const secondsShort = 3;
const secondsFull = 30;
const budgetPercent = 20;
/** Retries that any window of ten seconds allows besides (src/data-plane/traffic/retry-budget.ts). */
const floor = 10;
const windowSeconds = 10;
const retries = { retriesMax: 2, on: ["503"], methods: [] };
const policy = { retries, retryBudgetPercent: budgetPercent };

/** What one load came to: its requests, how many were answered with 200, and how many the services saw. */
interface Seen {
  readonly requests: number;
  readonly succeeded: number;
  readonly middle: number;
  readonly leaf: number;
  readonly shadow: number;
}

export const claim: Claim = {
  text: "a service that fails half of its requests sees no more of them for being asked again than the budget allows, directly and at the end of a chain of three, and one that fails seldom is hardly noticed",
  uses: [trafficMesh],
  run: async (context) => {
    const mesh = await trafficMesh.get();
    await using _ = { [Symbol.asyncDispose]: () => mesh.unpolice() };
    const seconds = context.isFull ? secondsFull : secondsShort;
    const half = { failingPercent: 50, seconds };
    // What other claims have used up of the budget is forgotten then.
    await sleep(windowSeconds * 1000);
    const without = await load(mesh, "leaf", half);
    await mesh.police({ [mesh.leaf.name]: policy, [mesh.middle.name]: policy, [mesh.shadow.name]: policy });
    const direct = await load(mesh, "leaf", half);
    const seldom = await load(mesh, "shadow", { failingPercent: 5, seconds });
    const chain = await load(mesh, "middle", { ...half, handsTraceOn: true });
    const unlinked = await load(mesh, "middle", half);

    const figure = [
      `of ${direct.requests} requests ${share(without.succeeded, without)} succeed without retries and ${share(direct.succeeded, direct)} with them, for ${times(direct.leaf, direct)} times the requests at the service`,
      `where it fails 5 %, ${share(seldom.succeeded, seldom)} succeed for ${times(seldom.shadow, seldom)} times`,
      `through a chain of three its end sees ${times(chain.leaf, chain)} times the requests at its begin, and ${times(unlinked.leaf, unlinked)} where the one between does not hand the trace on`,
    ].join("; ");
    // In the windows of the last load are the requests of the one before, which had used up less.
    const allowed = (requests: number, earlier = 0): number =>
      requests + ((requests + earlier) * budgetPercent) / 100 + windows(seconds) * floor;
    const problems = [
      direct.leaf > allowed(direct.requests) && "more than the budget",
      chain.leaf > allowed(chain.requests) && "more than the budget through the chain",
      chain.middle > chain.requests + windows(seconds) * floor &&
        "what was repeated in vain was repeated again",
      unlinked.middle > allowed(unlinked.requests, chain.requests) && "more than the budget of the first",
      unlinked.leaf > allowed(unlinked.middle, chain.middle) && "more than the budget of the second",
      direct.succeeded / direct.requests < 0.54 && "retries help nobody",
      seldom.succeeded / seldom.requests < 0.99 && "retries do not hide seldom failures",
    ].filter((problem) => problem !== false);
    return problems.length === 0 ? ok(figure) : failed(`${problems.join(", ")}: ${figure}`);
  },
};

async function load(
  mesh: TrafficMesh,
  target: "middle" | "leaf" | "shadow",
  how: { failingPercent: number; seconds: number; handsTraceOn?: boolean },
): Promise<Seen> {
  const { middle, leaf, shadow, front } = mesh;
  let draws = 0;
  const failing: http.RequestListener = (_, response) => {
    // A fixed share in no pattern that attempts could follow.
    draws = (draws * 1_103_515_245 + 12_345) % 2 ** 31;
    response.statusCode = (draws / 2 ** 31) * 100 < how.failingPercent ? 503 : 200;
    response.end();
  };
  leaf.answer = failing;
  shadow.answer = failing;
  middle.answer = asking(middle.outboundAddress, leaf.host, how.handsTraceOn === true);
  const before = { middle: middle.seen, leaf: leaf.seen, shadow: shadow.seen };
  const endMillis = performance.now() + how.seconds * 1000;
  const { requests, failures } = await openLoopLoadOfTraces({
    outboundAddress: front.outboundAddress,
    host: mesh[target].host,
    isOver: () => performance.now() > endMillis,
  });
  return {
    requests,
    succeeded: requests - failures,
    middle: middle.seen - before.middle,
    leaf: leaf.seen - before.leaf,
    shadow: shadow.seen - before.shadow,
  };
}

/** A load in which each request begins a trace of its own, as requests from instrumented applications do. */
function openLoopLoadOfTraces(at: {
  readonly outboundAddress: string;
  readonly host: string;
  readonly isOver: () => boolean;
}): ReturnType<typeof openLoopLoad> {
  let number = 0;
  const headers = (): Record<string, string> => {
    number += 1;
    return { traceparent: `00-${number.toString(16).padStart(32, "0")}-00000000000000ff-00` };
  };
  return openLoopLoad({ ...at, requestsPerSecond, headers });
}

/** Answers with what another service answers. */
function asking(address: string, host: string, handsTraceOn: boolean): http.RequestListener {
  const [hostname, port] = address.split(":");
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  return (request, response) => {
    const { traceparent } = request.headers;
    const handed = handsTraceOn && traceparent !== undefined ? { traceparent } : {};
    http
      .get({ hostname, port, agent, headers: { host, ...handed } }, (answer) => {
        answer.resume();
        response.statusCode = answer.statusCode ?? 500;
        response.end();
      })
      .on("error", () => response.destroy());
  };
}

/** Windows of ten seconds that the time of a load has a part in. */
function windows(seconds: number): number {
  return Math.ceil(seconds / windowSeconds) + 1;
}

function share(of: number, { requests }: Seen): string {
  return `${((100 * of) / requests).toFixed(1)} %`;
}

function times(of: number, { requests }: Seen): string {
  return (of / requests).toFixed(2);
}
