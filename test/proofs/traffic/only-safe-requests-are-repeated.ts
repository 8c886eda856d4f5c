import type { RequestListener } from "node:http";
import { httpCall } from "../../apparatus/http-call.ts";
import { type TrafficMesh, trafficMesh } from "../../apparatus/traffic-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

const requestsShort = 300;
const requestsFull = 5_000;
const concurrency = 16;
const retries = { retriesMax: 3, on: ["502", "503", "504", "connect-failed", "reset", "timeout"] };

export const claim: Claim = {
  text: "whatever goes wrong, a POST comes to the application once unless its policy names POST, and a GET comes as often as its policy allows",
  uses: [trafficMesh],
  run: async (context) => {
    const mesh = await trafficMesh.get();
    await using _ = { [Symbol.asyncDispose]: () => mesh.unpolice() };
    const count = context.isFull ? requestsFull : requestsShort;
    const policy = { retryBudgetPercent: 100, timeoutMillis: 5_000 };
    await mesh.police({ [mesh.leaf.name]: { ...policy, retries } });
    const posts = await askAll(mesh, "POST", count);
    const gets = await askAll(mesh, "GET", count);
    await mesh.police({ [mesh.leaf.name]: { ...policy, retries: { ...retries, methods: ["POST"] } } });
    const told = await askAll(mesh, "POST", count);
    const figure =
      `of ${count} POSTs to a service that answers a third with 503 and breaks a third off, ${posts.repeated} came twice and ${posts.succeeded} succeeded; ` +
      `of as many GETs ${gets.repeated} came twice or more and ${gets.succeeded} succeeded; ` +
      `of POSTs that the policy names ${told.repeated} and ${told.succeeded}`;
    const isRight = posts.repeated === 0 && gets.repeated > 0 && told.repeated > 0;
    return isRight && gets.succeeded > posts.succeeded ? ok(figure) : failed(figure);
  },
};

/** Sends requests with a number each, and says how many numbers came to the application more than once. */
async function askAll(
  mesh: TrafficMesh,
  method: "GET" | "POST",
  count: number,
): Promise<{ repeated: number; succeeded: number }> {
  const times = new Map<string, number>();
  let seen = 0;
  const answer: RequestListener = ({ url = "" }, response) => {
    times.set(url, (times.get(url) ?? 0) + 1);
    seen += 1;
    if (seen % 3 === 0) return void response.end("ok\n");
    if (seen % 3 === 1) return void response.writeHead(503).end();
    return void response.socket?.destroy();
  };
  mesh.leaf.answer = answer;
  let next = 0;
  let succeeded = 0;
  const askSome = async (): Promise<void> => {
    while (next < count) {
      const path = `/?${next}`;
      next += 1;
      const { status } = await httpCall({
        address: mesh.front.outboundAddress,
        host: mesh.leaf.host,
        path,
        method,
        ...(method === "POST" ? { body: "{}" } : {}),
      });
      if (status === 200) succeeded += 1;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, askSome));
  return { repeated: [...times.values()].filter((one) => one > 1).length, succeeded };
}
