import { preparedClone } from "../../apparatus/clean-clone.ts";
import { proveNothingIsLeft } from "../../apparatus/ended-start.ts";
import type { Claim } from "../claim.ts";

/** As from `kill -INT`. */
export const claim: Claim = {
  text: "SIGINT to npm start alone leaves nothing either",
  uses: [preparedClone],
  run: async () => proveNothingIsLeft(await preparedClone.get(), (command) => command.kill("SIGINT")),
};
