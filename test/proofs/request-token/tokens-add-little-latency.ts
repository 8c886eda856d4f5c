import { benchSecondsMax, measure } from "../../apparatus/bench-rounds.ts";
import { type Claim, failed, ok } from "../claim.ts";

const scenarios = ["latency-16", "latency-64"] as const;
const addedMicrosMax = 50;

export const claim: Claim = {
  text: "at 1000 requests a second over 16 and 64 connections, minting and checking a request token for each adds 0.05 ms at most to the 90th percentile",
  limitSeconds: benchSecondsMax * scenarios.length,
  run: async ({ isFull }) => {
    const seen: string[] = [];
    let holds = true;
    for (const scenario of scenarios) {
      const rounds = (await measure(scenario, isFull, "--tokens"))(scenario);
      const added = rounds.difference("p90Micros", "without tokens");
      const control = rounds.difference("p90Micros", "without tokens again");
      holds &&= added <= addedMicrosMax;
      seen.push(
        `${scenario} ${signed(added)} µs (without tokens a second time: ${signed(added - control)} µs)${rounds.remark}`,
      );
    }
    return holds ? ok(seen.join(", ")) : failed(seen.join(", "));
  },
};

function signed(micros: number): string {
  return `${micros < 0 ? "−" : "+"}${Math.abs(micros).toFixed(0)}`;
}
