import { benchSecondsMax, measure } from "../../apparatus/bench-rounds.ts";
import { type Claim, failed, ok, skipped } from "../claim.ts";

const pair = "envoy grpc";

export const claim: Claim = {
  text: "Troth carries as many unary calls of gRPC, 64 streams at a time, as Envoy's pair",
  limitSeconds: benchSecondsMax,
  run: async ({ isFull }) => {
    const rounds = (await measure("grpc-64", isFull))("grpc-64");
    const howToGet = rounds.missing(pair);
    if (howToGet !== undefined) return skipped(`no Envoy here: ${howToGet}`);
    const ratio = rounds.ratio("requestsPerSecond", pair);
    const figure = `${ratio.toFixed(2)} × ${pair}${rounds.remark}`;
    return ratio >= 1 ? ok(figure) : failed(figure);
  },
};
