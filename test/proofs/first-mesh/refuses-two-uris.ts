import { demoMesh } from "../../apparatus/demo-mesh.ts";
import { leafWithUris, stealAuthority } from "../../apparatus/hostile-certificates.ts";
import { proveRefused } from "../../apparatus/refused-connection.ts";
import type { Claim } from "../claim.ts";

/** The issuer itself has gone wrong, so only the check of the URIs is left. */
export const claim: Claim = {
  text: "a certificate with two URI SANs is refused, even signed by the mesh's own CA",
  uses: [demoMesh],
  run: async () => {
    const mesh = await demoMesh.get();
    const id = `spiffe://${mesh.domain.trustDomain}`;
    const issuer = await stealAuthority(mesh);
    const credentials = leafWithUris(issuer, `${id}/shop/payments`, `${id}/shop/load`);
    return proveRefused(mesh, { credentials, reason: "several-uri-sans" });
  },
};
