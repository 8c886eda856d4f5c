import { setTimeout as sleep } from "node:timers/promises";
import { demoMesh } from "../../apparatus/demo-mesh.ts";
import { stealAuthority, unloggedSvid } from "../../apparatus/hostile-certificates.ts";
import { proveRefused } from "../../apparatus/refused-connection.ts";
import { servingInstance, statusOf } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

const alarmMillisMax = 5_000;

/** What a thief of the CA's key can make is perfect, but that the trust log does not name it. */
export const claim: Claim = {
  text: "a perfect certificate that no entry of the trust log names (the CA's key was stolen) is refused and raises an alarm",
  uses: [demoMesh],
  run: async () => {
    const mesh = await demoMesh.get();
    const { service, instance } = await servingInstance(mesh.path, "/shop/payments");
    const credentials = unloggedSvid(await stealAuthority(mesh), { service, instance });
    const refused = await proveRefused(mesh, { credentials, reason: "not-in-log" });
    if (refused.verdict !== "ok") return refused;
    const deadline = performance.now() + alarmMillisMax;
    while (performance.now() < deadline) {
      const alarm = (await statusOf(mesh.path)).alarms.find(({ reason }) => reason === "not-in-log");
      if (alarm !== undefined) return ok(`${refused.figure}; alarm: ${alarm.detail}`);
      await sleep(200);
    }
    return failed(`${refused.figure}, but troth status shows no alarm within ${alarmMillisMax} ms`);
  },
};
