/**
 * Sends mutated requests through two sidecars for a while: `node test/fuzz/http1-long.ts [seconds] [seed]`. Prints what
 * came of it and the seed to see it again; fails on a complaint.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { GoHttp1Reader } from "../apparatus/go-http1-reader.ts";
import { missingForGoPeer } from "../apparatus/go-peer.ts";
import { Http1Ground } from "../apparatus/http1-ground.ts";
import { assail, mutant } from "./http1-mesh-mutations.ts";

const seconds = Number(process.argv[2] ?? "60");
const seed = Number(process.argv[3] ?? Date.now() % 2 ** 31);
const folder = mkdtempSync(join(tmpdir(), "troth-http1-long-"));
const isGoHere = missingForGoPeer("http1-reader") === undefined;
console.log(`seed ${seed}${isGoHere ? "" : ", without Go, of which there is none or an old one"}`);
const go = isGoHere ? await GoHttp1Reader.open(folder) : undefined;
const ground = await Http1Ground.open();
const statuses = new Map<number, number>();
let sent = 0;
let reached = 0;
let heapBytesMax = 0;
try {
  await fc.assert(
    fc.asyncProperty(fc.array(mutant, { minLength: 1, maxLength: 60 }), async (mutants) => {
      const survival = await assail(ground, go, mutants);
      if (survival.complaints.length > 0) throw new Error(survival.complaints.join("\n"));
      sent += mutants.length;
      reached += survival.reached;
      for (const status of survival.statuses) statuses.set(status, (statuses.get(status) ?? 0) + 1);
      heapBytesMax = Math.max(heapBytesMax, process.memoryUsage().heapUsed);
    }),
    { seed, numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: seconds * 1000 },
  );
} finally {
  await ground[Symbol.asyncDispose]();
  await go?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
}
console.log(
  `${sent} messages, ${reached} requests reached the application, heap at most ${(heapBytesMax / 1e6).toFixed(0)} MB`,
);
for (const [status, count] of [...statuses].toSorted(([, left], [, right]) => right - left))
  console.log(`${count} ${status}`);
