import { preparedClone } from "../../apparatus/clean-clone.ts";
import { bootstrapOf, proveNothingIsLeft } from "../../apparatus/ended-start.ts";
import { signal } from "../../apparatus/marked-processes.ts";
import type { Claim } from "../claim.ts";

/** It gets no chance to tell anybody, so those below have to notice. */
export const claim: Claim = {
  text: "kill -9 of the process between npm and Troth: everything below ends by itself, nothing is left",
  uses: [preparedClone],
  run: async () =>
    proveNothingIsLeft(await preparedClone.get(), (command) => signal(bootstrapOf(command), "SIGKILL")),
};
