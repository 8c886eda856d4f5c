import { setTimeout as sleep } from "node:timers/promises";
import { demoMesh } from "../../apparatus/demo-mesh.ts";
import { stealAuthority, unloggedSvid } from "../../apparatus/hostile-certificates.ts";
import { proveRefused } from "../../apparatus/refused-connection.ts";
import { servingInstance } from "../../apparatus/running-mesh.ts";
import type { Claim } from "../claim.ts";

/** Issued for one second, two and a half seconds ago; all else is as in a good one. */
export const claim: Claim = {
  text: "an expired certificate is refused, even signed by the mesh's own CA",
  uses: [demoMesh],
  run: async () => {
    const mesh = await demoMesh.get();
    const { service, instance } = await servingInstance(mesh.path, "/shop/payments");
    const credentials = unloggedSvid(await stealAuthority(mesh), { service, instance, lifetimeSeconds: 1 });
    await sleep(2_500);
    return proveRefused(mesh, { credentials, reason: "expired" });
  },
};
