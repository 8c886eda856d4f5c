import { benchSecondsMax, measure } from "../../apparatus/bench-rounds.ts";
import { type Claim, failed, ok } from "../claim.ts";

const megabytesMax = 80;
const megabytesPerMebibyte = 1.048576;

export const claim: Claim = {
  text: "A sidecar holds at most 80 MB after load",
  limitSeconds: benchSecondsMax,
  run: async ({ isFull }) => {
    const rounds = (await measure("memory", isFull))("memory");
    const inMegabytes = (figure: string): number => rounds.own(figure) * megabytesPerMebibyte;
    const outbound = inMegabytes("outboundRssMib");
    const inbound = inMegabytes("inboundRssMib");
    const figure =
      `${outbound.toFixed(0)} and ${inbound.toFixed(0)} MB resident; counting shared pages by share ` +
      `${inMegabytes("outboundPssMib").toFixed(0)} and ${inMegabytes("inboundPssMib").toFixed(0)} MB`;
    return Math.max(outbound, inbound) <= megabytesMax ? ok(figure) : failed(figure);
  },
};
