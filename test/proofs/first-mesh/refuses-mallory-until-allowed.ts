import { setTimeout as sleep } from "node:timers/promises";
import { demoMesh } from "../../apparatus/demo-mesh.ts";
import { type HttpAnswer, httpCall } from "../../apparatus/http-call.ts";
import { outboundAddressOf, type RunningMesh, troth } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

const effectMillisMax = 1_000;
const giveUpMillis = 10_000;

/** Through her own sidecar, with her own good certificate: it is the rule alone that decides. */
export const claim: Claim = {
  text: "mallory is refused by the ledger, answered within a second of troth allow, and refused within a second of troth deny",
  uses: [demoMesh],
  run: async () => {
    const mesh = await demoMesh.get();
    const ask = (): Promise<HttpAnswer> =>
      httpCall({
        address: outboundAddressOf(mesh, "/shop/mallory"),
        host: "ledger.shop.mesh",
        path: "/entries?limit=1",
      });
    const before = await ask();
    if (before.status !== 403 || !before.body.includes('"no-rule"'))
      return failed(`before any rule she got ${before.status} ${before.body}`);
    const allowed = await effectOf(mesh, "allow", async () => (await ask()).status === 200);
    const denied = await effectOf(mesh, "deny", async () => (await ask()).status === 403);
    const figure = `allowed ${allowed.toFixed(0)} ms, denied ${denied.toFixed(0)} ms after the entry was acknowledged`;
    return Math.max(allowed, denied) <= effectMillisMax ? ok(figure) : failed(figure);
  },
};

/** Milliseconds from the end of `troth allow|deny` until it shows. */
async function effectOf(
  mesh: RunningMesh,
  effect: "allow" | "deny",
  shows: () => Promise<boolean>,
): Promise<number> {
  const { code, stderr } = await troth(mesh.path, effect, "/shop/mallory", "/shop/ledger", "--no-wait");
  if (code !== 0) throw new Error(`troth ${effect} ended with ${code}: ${stderr}`);
  const started = performance.now();
  while (!(await shows())) {
    if (performance.now() - started > giveUpMillis) throw new Error(`troth ${effect} has no effect`);
    await sleep(5);
  }
  return performance.now() - started;
}
