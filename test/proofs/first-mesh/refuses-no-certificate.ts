import { demoMesh } from "../../apparatus/demo-mesh.ts";

import { proveRefused } from "../../apparatus/refused-connection.ts";
import type { Claim } from "../claim.ts";

/** Nothing to judge is a refusal too. */
export const claim: Claim = {
  text: "a caller without a client certificate is refused",
  uses: [demoMesh],
  run: async () => {
    const mesh = await demoMesh.get();
    const credentials = {};
    return proveRefused(mesh, { credentials, reason: "no-certificate" });
  },
};
