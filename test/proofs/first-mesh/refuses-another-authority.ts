import { demoMesh } from "../../apparatus/demo-mesh.ts";
import { ownAuthority, unloggedSvid } from "../../apparatus/hostile-certificates.ts";
import { proveRefused } from "../../apparatus/refused-connection.ts";
import { servingInstance } from "../../apparatus/running-mesh.ts";
import type { Claim } from "../claim.ts";

/** Everything in the certificate is right, but for who signed it. */
export const claim: Claim = {
  text: "a certificate of another CA is refused, though it names the right trust domain and service",
  uses: [demoMesh],
  run: async () => {
    const mesh = await demoMesh.get();
    const { service, instance } = await servingInstance(mesh.path, "/shop/payments");
    const credentials = unloggedSvid(ownAuthority(mesh.domain.trustDomain), { service, instance });
    return proveRefused(mesh, { credentials, reason: "untrusted-issuer" });
  },
};
