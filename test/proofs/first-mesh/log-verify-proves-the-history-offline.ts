import { verifyLog } from "../../apparatus/damaged-log.ts";
import { stoppedMesh } from "../../apparatus/stopped-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

/** No process of the mesh runs any more; all there is are its files. */
export const claim: Claim = {
  text: "troth log verify proves the whole history from the files alone",
  uses: [stoppedMesh],
  run: async () => {
    const { path, entries } = await stoppedMesh.get();
    const started = performance.now();
    const { code, verified, size, root, unsigned, problems } = await verifyLog(path);
    const millis = performance.now() - started;
    if (code !== 0 || !verified) return failed(`${code}: ${problems.join("; ")}`);
    if (size !== entries.length || unsigned !== 0)
      return failed(`${size} signed and ${unsigned} unsigned of ${entries.length} entries`);
    return ok(`${size} entries, root ${root}, in ${millis.toFixed(0)} ms with the start of the command`);
  },
};
