import { benchSecondsMax, measure } from "../../apparatus/bench-rounds.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

/** How many times the throughput of each pair. */
const wanted = [
  ["nginx", 1.8],
  ["haproxy h2", 1.0],
  ["envoy h2", 1.3],
] as const;

export const claim: Claim = {
  text: "At 64 connections, 1 KiB, Troth with all its checks carries 1.8 times what nginx's pair does, as much as HAProxy's over HTTP/2, and 1.3 times what Envoy's does",
  limitSeconds: benchSecondsMax,
  run: async ({ isFull }) => {
    const rounds = (await measure("saturation-64", isFull))("saturation-64");
    const seen: string[] = [];
    let holds = true;
    let isWhole = true;
    for (const [pair, least] of wanted) {
      const howToGet = rounds.missing(pair);
      if (howToGet !== undefined) {
        isWhole = false;
        seen.push(`no ${pair} here: ${howToGet}`);
        continue;
      }
      const ratio = rounds.ratio("requestsPerSecond", pair);
      holds &&= ratio >= least;
      seen.push(`${ratio.toFixed(2)} × ${pair}`);
    }
    const cpu = rounds.own("pairCpuMicros").toFixed(1);
    const figure = `${seen.join(", ")}; ${cpu} µs of processor time a request in both sidecars${rounds.remark}`;
    if (!holds) return failed(figure);
    return isWhole ? ok(figure) : skipped(figure);
  },
};
