import { demoMesh } from "../../apparatus/demo-mesh.ts";
import { authorityAsLeaf, stealAuthority } from "../../apparatus/hostile-certificates.ts";
import { proveRefused } from "../../apparatus/refused-connection.ts";
import type { Claim } from "../claim.ts";

/** Whoever holds the CA key could speak as the CA itself. */
export const claim: Claim = {
  text: "a CA certificate shown as a leaf is refused, even the mesh's own",
  uses: [demoMesh],
  run: async () => {
    const mesh = await demoMesh.get();
    const credentials = authorityAsLeaf(await stealAuthority(mesh));
    return proveRefused(mesh, { credentials, reason: "not-a-leaf" });
  },
};
