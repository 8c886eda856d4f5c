/**
 * Sends mutated requests through two sidecars for a while, and mutated responses back, half of the time each:
 * `node test/fuzz/http1-long.ts [seconds] [seed]`. Prints what came of it and the seed to see it again; fails on a
 * complaint.
 */
import { GoHttp1Reader } from "../apparatus/go-http1-reader.ts";
import { missingForGoPeer } from "../apparatus/go-peer.ts";
import { Http1Ground } from "../apparatus/http1-ground.ts";
import { openScriptedApp } from "../apparatus/scripted-app.ts";
import { temporaryFolder } from "../contracts/temporary-folder.ts";
import { assailFor } from "./http1-assault.ts";

const seconds = Number(process.argv[2] ?? "60");
const seed = Number(process.argv[3] ?? Date.now() % 2 ** 31);
const missing = missingForGoPeer("http1-reader");
console.log(`seed ${seed}${missing === undefined ? "" : `, without Go: ${missing}`}`);

await using folder = await temporaryFolder();
await using go = missing === undefined ? await GoHttp1Reader.open(folder.path) : undefined;
const hostile = await openScriptedApp();
await using ground = await Http1Ground.open({ "/shop/hostile": hostile });
const address = ground.caller.sidecar.outboundAddress;
const responses = { address, app: hostile, host: "hostile.shop.mesh", go };
const figures = await assailFor(ground, responses, { seconds, seed });
console.log(
  `${figures.requests} messages, of which ${figures.reached} requests reached the application, and ` +
    `${figures.responses} responses; heap at most ${(figures.heapBytesMax / 1e6).toFixed(0)} MB`,
);
for (const [what, times] of [...figures.outcomes].toSorted(([, left], [, right]) => right - left))
  console.log(`${times} ${what}`);
