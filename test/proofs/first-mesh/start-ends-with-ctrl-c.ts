import { preparedClone } from "../../apparatus/clean-clone.ts";
import { proveNothingIsLeft } from "../../apparatus/ended-start.ts";
import type { Claim } from "../claim.ts";

/** A terminal sends it to every process of the foreground job, and npm passes it on once more. */
export const claim: Claim = {
  text: "Ctrl-C (SIGINT to the whole process group of npm start) leaves no process, no open port, a log that verifies, and the next start resumes",
  uses: [preparedClone],
  run: async () =>
    proveNothingIsLeft(await preparedClone.get(), (command) => command.kill("SIGINT", "group")),
};
