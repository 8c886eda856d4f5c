import { freePort } from "../../../src/cli/free-port.ts";
import { openMesh, statusOf, troth } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

/** Two writers would fork the log. */
export const claim: Claim = {
  text: "a second troth up in the same directory is refused and says which process is in the way; the first goes on",
  run: async () => {
    await using mesh = await openMesh({ kind: "up" });
    const before = await statusOf(mesh.path);
    const again = await troth(mesh.path, "up", "--listen", `127.0.0.1:${await freePort()}`);
    const said = again.stderr.trim();
    if (again.code === 0) return failed(`it ended with 0: ${again.stdout}`);
    const names = /process ([0-9]+)/.exec(said)?.[1];
    if (names === undefined) return failed(`exit code ${again.code}, but it names no process: ${said}`);
    const after = await statusOf(mesh.path);
    if (after.treeSize < before.treeSize || after.uptimeSeconds < before.uptimeSeconds)
      return failed(`the first was disturbed: ${JSON.stringify(after)}`);
    return ok(`exit code ${again.code} after ${again.millis.toFixed(0)} ms: ${said}`);
  },
};
