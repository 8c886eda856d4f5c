import { benchSecondsMax, measure } from "../../apparatus/bench-rounds.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const scenarios = ["latency-16", "latency-64"] as const;
const addedMicrosMax = 50;

export const claim: Claim = {
  text: "At 1000 requests a second over 16 and 64 connections, 90 % are answered within 0.05 ms of nginx's pair",
  limitSeconds: benchSecondsMax * scenarios.length,
  run: async ({ isFull }) => {
    const seen: string[] = [];
    let holds = true;
    for (const scenario of scenarios) {
      const rounds = (await measure(scenario, isFull))(scenario);
      const howToGet = rounds.missing("nginx");
      if (howToGet !== undefined) return skipped(`no nginx here: ${howToGet}`);
      const added = rounds.difference("p90Micros", "nginx");
      const control = rounds.difference("p90Micros", "nginx again");
      holds &&= added <= addedMicrosMax;
      seen.push(
        `${scenario} ${signed(added)} µs (nginx a second time: ${signed(control)} µs)${rounds.remark}`,
      );
    }
    return holds ? ok(seen.join(", ")) : failed(seen.join(", "));
  },
};

function signed(micros: number): string {
  return `${micros < 0 ? "−" : "+"}${Math.abs(micros).toFixed(0)}`;
}
