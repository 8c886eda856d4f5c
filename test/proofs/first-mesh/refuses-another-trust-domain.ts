import { demoMesh } from "../../apparatus/demo-mesh.ts";
import { leafWithUris, stealAuthority } from "../../apparatus/hostile-certificates.ts";
import { proveRefused } from "../../apparatus/refused-connection.ts";
import type { Claim } from "../claim.ts";

/** A CA speaks for its own trust domain and for no other. */
export const claim: Claim = {
  text: "an ID of another trust domain is refused, even signed by the mesh's own CA",
  uses: [demoMesh],
  run: async () => {
    const mesh = await demoMesh.get();
    const issuer = await stealAuthority(mesh);
    const credentials = leafWithUris(issuer, "spiffe://other.example/shop/payments");
    return proveRefused(mesh, { credentials, reason: "unknown-trust-domain" });
  },
};
