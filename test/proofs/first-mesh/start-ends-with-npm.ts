import { preparedClone } from "../../apparatus/clean-clone.ts";
import { proveNothingIsLeft } from "../../apparatus/ended-start.ts";
import type { Claim } from "../claim.ts";

/** npm gets no chance to pass anything on, so those below have to notice. */
export const claim: Claim = {
  text: "kill -9 of npm itself: everything below ends by itself, nothing is left",
  uses: [preparedClone],
  run: async () => proveNothingIsLeft(await preparedClone.get(), (command) => command.kill("SIGKILL")),
};
