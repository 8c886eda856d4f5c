/** Assaults sessions for a while: `node test/fuzz/http2-long.ts [seconds]`. Prints what came of it; fails on a complaint. */
import fc from "fast-check";
import { assaultClient, assaultServer, clientAssault, serverAssault } from "./http2-mutations.ts";

const seconds = Number(process.argv[2] ?? "60");
const started = performance.now();
const ends = new Map<string, number>();
let runs = 0;
let answered = 0;
let heapBytesMax = 0;
while (performance.now() - started < seconds * 1000) {
  fc.assert(
    fc.property(clientAssault, serverAssault, (fromClient, fromServer) => {
      for (const survival of [assaultServer(fromClient), assaultClient(fromServer)]) {
        if (survival.complaint !== undefined) throw new Error(survival.complaint);
        runs += 1;
        answered += survival.answered;
        for (const end of survival.ends) ends.set(end ?? "none", (ends.get(end ?? "none") ?? 0) + 1);
      }
    }),
    { numRuns: 500 },
  );
  heapBytesMax = Math.max(heapBytesMax, process.memoryUsage().heapUsed);
}
console.log(
  `${runs} assaults, ${answered} messages answered, heap at most ${(heapBytesMax / 1e6).toFixed(0)} MB`,
);
for (const [end, count] of [...ends].toSorted(([, left], [, right]) => right - left))
  console.log(`${count} ${end}`);
