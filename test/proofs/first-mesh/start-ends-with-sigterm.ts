import { preparedClone } from "../../apparatus/clean-clone.ts";
import { proveNothingIsLeft } from "../../apparatus/ended-start.ts";
import type { Claim } from "../claim.ts";

/** As from a service manager. */
export const claim: Claim = {
  text: "SIGTERM to npm start leaves nothing either",
  uses: [preparedClone],
  run: async () => proveNothingIsLeft(await preparedClone.get(), (command) => command.kill("SIGTERM")),
};
