import { preparedClone } from "../../apparatus/clean-clone.ts";
import { proveNothingIsLeft } from "../../apparatus/ended-start.ts";
import { killMarked } from "../../apparatus/marked-processes.ts";
import type { Claim } from "../claim.ts";

/** As when the machine runs out of memory, or of power but for what was on disk. */
export const claim: Claim = {
  text: "kill -9 of every process at once leaves no broken state: the log verifies and the next start resumes",
  uses: [preparedClone],
  run: async () => proveNothingIsLeft(await preparedClone.get(), ({ mark }) => killMarked(mark)),
};
