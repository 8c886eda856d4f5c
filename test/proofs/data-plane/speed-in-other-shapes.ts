import { benchSecondsMax, measure } from "../../apparatus/bench-rounds.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const shapes = [
  "saturation-1",
  "saturation-4",
  "saturation-16",
  "saturation-256",
  "get-16k",
  "post-16k",
  "new-connection",
] as const;
const leastRatio = 0.8;
const pair = "haproxy h2";

export const claim: Claim = {
  text: "At 1, 4, 16 and 256 connections, with bodies of 16 KiB and with a new client connection for each request, Troth carries at least 0.8 times what HAProxy's pair does over HTTP/2",
  limitSeconds: benchSecondsMax * shapes.length,
  run: async ({ isFull, note }) => {
    const seen: string[] = [];
    let holds = true;
    for (const shape of shapes) {
      const rounds = (await measure(shape, isFull))(shape);
      const howToGet = rounds.missing(pair);
      if (howToGet !== undefined) return skipped(`no ${pair} here: ${howToGet}`);
      const ratio = rounds.ratio("requestsPerSecond", pair);
      holds &&= ratio >= leastRatio;
      seen.push(`${shape} ${ratio.toFixed(2)} ×`);
      note(`${shape} ${ratio.toFixed(2)} × ${pair}${rounds.remark}`);
    }
    return holds ? ok(seen.join(", ")) : failed(seen.join(", "));
  },
};
