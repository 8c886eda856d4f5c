import { benchSecondsMax, measure } from "../../apparatus/bench-rounds.ts";
import { type Claim, failed, ok } from "../claim.ts";

const scenarios = ["latency-16", "latency-64"] as const;
const addedMicrosMax = 50;
/** One round tells apart some 150 µs on a machine of two cores. */
const rounds = { short: 40, full: 120 };

export const claim: Claim = {
  text: "at 1000 requests a second over 16 and 64 connections, minting and checking a request token for each adds 0.05 ms at most to the 90th percentile",
  limitSeconds: benchSecondsMax * scenarios.length,
  run: async ({ isFull }) => {
    const seen: string[] = [];
    let holds = true;
    const count = isFull ? rounds.full : rounds.short;
    for (const scenario of scenarios) {
      const measured = (await measure(scenario, false, "--tokens", "--rounds", String(count)))(scenario);
      const added = measured.differenceFromBoth("p90Micros", "without tokens", "without tokens again");
      const first = measured.difference("p90Micros", "without tokens");
      const second = measured.difference("p90Micros", "without tokens again");
      holds &&= added <= addedMicrosMax;
      seen.push(
        `${scenario} ${signed(added)} µs over ${count} rounds (${signed(first)} and ${signed(second)} µs against each of two that mint none)${measured.remark}`,
      );
    }
    return holds ? ok(seen.join(", ")) : failed(seen.join(", "));
  },
};

function signed(micros: number): string {
  return `${micros < 0 ? "−" : "+"}${Math.abs(micros).toFixed(0)}`;
}
