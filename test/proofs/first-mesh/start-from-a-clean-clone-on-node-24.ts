import { messageOf } from "../../../src/base/mesh-error.ts";
import { openPreparedClone } from "../../apparatus/clean-clone.ts";
import { judgeFirstStart } from "../../apparatus/first-start.ts";
import { type NodeOnPath, packagedNode } from "../../apparatus/node-on-path.ts";
import { type Claim, skipped } from "../claim.ts";

const version = "24.21.0";

/** Node.js 24 is the oldest that Troth runs on without bringing its own. */
export const claim: Claim = {
  text: "npm start in a clean clone of HEAD does the same on a machine with Node.js 24, without a runtime of its own",
  run: async () => {
    let node: NodeOnPath;
    try {
      node = await packagedNode(version);
    } catch (error) {
      return skipped(`Node.js ${version} could not be installed: ${messageOf(error)}`);
    }
    await using clone = await openPreparedClone(node);
    return judgeFirstStart(clone);
  },
};
