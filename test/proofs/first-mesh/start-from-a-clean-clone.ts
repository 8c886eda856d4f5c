import { preparedClone } from "../../apparatus/clean-clone.ts";
import { judgeFirstStart } from "../../apparatus/first-start.ts";
import type { Claim } from "../claim.ts";

/** HEAD is cloned; work that is not committed is not tried. */
export const claim: Claim = {
  text: "npm start in a clean clone of HEAD, with nothing but this machine's Node.js and npm, prepares within 90 s, reaches real traffic and says ready with the admin address; bin/troth status answers beside it",
  uses: [preparedClone],
  run: async () => judgeFirstStart(await preparedClone.get()),
};
