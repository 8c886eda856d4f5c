import { demoMesh } from "../../apparatus/demo-mesh.ts";
import { leafWithUris, stealAuthority } from "../../apparatus/hostile-certificates.ts";
import { proveRefused } from "../../apparatus/refused-connection.ts";
import type { Claim } from "../claim.ts";

/** That is the name of a trust domain, not of a workload. */
export const claim: Claim = {
  text: "a SPIFFE ID without a path is refused, even signed by the mesh's own CA",
  uses: [demoMesh],
  run: async () => {
    const mesh = await demoMesh.get();
    const issuer = await stealAuthority(mesh);
    const credentials = leafWithUris(issuer, `spiffe://${mesh.domain.trustDomain}`);
    return proveRefused(mesh, { credentials, reason: "no-path" });
  },
};
