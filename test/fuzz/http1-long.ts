/**
 * Sends mutated requests through two sidecars for a while, and mutated responses back, half of the time each:
 * `node test/fuzz/http1-long.ts [seconds] [seed]`. Prints what came of it and the seed to see it again; fails on a
 * complaint.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { GoHttp1Reader } from "../apparatus/go-http1-reader.ts";
import { missingForGoPeer } from "../apparatus/go-peer.ts";
import { Http1Ground } from "../apparatus/http1-ground.ts";
import { openScriptedApp } from "../apparatus/scripted-app.ts";
import { assail, mutant } from "./http1-mesh-mutations.ts";
import { assailWithResponse, responseMutant } from "./http1-response-mutations.ts";

const seconds = Number(process.argv[2] ?? "60");
const seed = Number(process.argv[3] ?? Date.now() % 2 ** 31);
const folder = mkdtempSync(join(tmpdir(), "troth-http1-long-"));
const isGoHere = missingForGoPeer("http1-reader") === undefined;
console.log(`seed ${seed}${isGoHere ? "" : ", without Go, of which there is none or an old one"}`);
const go = isGoHere ? await GoHttp1Reader.open(folder) : undefined;
const hostile = await openScriptedApp();
const ground = await Http1Ground.open({ "/shop/hostile": hostile });
const responses = {
  address: ground.caller.sidecar.outboundAddress,
  app: hostile,
  host: "hostile.shop.mesh",
  go,
};
const statuses = new Map<string, number>();
const counts = { requests: 0, reached: 0, responses: 0 };
let heapBytesMax = 0;
const settings = { seed, numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: seconds * 500 };
try {
  await fc.assert(
    fc.asyncProperty(fc.array(mutant, { minLength: 1, maxLength: 60 }), async (mutants) => {
      const survival = await assail(ground, go, mutants);
      judge(survival.complaints);
      counts.requests += mutants.length;
      counts.reached += survival.reached;
      for (const status of survival.statuses) count(`request answered ${status}`);
    }),
    settings,
  );
  await fc.assert(
    fc.asyncProperty(responseMutant, async (one) => {
      const survival = await assailWithResponse(responses, one);
      judge(survival.complaints);
      counts.responses += 1;
      count(survival.status === 0 ? "response broken off" : `response of ${survival.status}`);
    }),
    settings,
  );
} finally {
  await ground[Symbol.asyncDispose]();
  await go?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
}
console.log(
  `${counts.requests} messages, of which ${counts.reached} requests reached the application, and ${counts.responses} ` +
    `responses; heap at most ${(heapBytesMax / 1e6).toFixed(0)} MB`,
);
for (const [what, times] of [...statuses].toSorted(([, left], [, right]) => right - left))
  console.log(`${times} ${what}`);

function judge(complaints: readonly string[]): void {
  heapBytesMax = Math.max(heapBytesMax, process.memoryUsage().heapUsed);
  if (complaints.length > 0) throw new Error(complaints.join("\n"));
}

function count(what: string): void {
  statuses.set(what, (statuses.get(what) ?? 0) + 1);
}
