import { statementsOf } from "../../apparatus/journal-entries.ts";
import { openLoopLoad } from "../../apparatus/open-loop-load.ts";
import { openMesh, openService, type RunningMesh, troth } from "../../apparatus/running-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

const lifetimeSeconds = 20;
const requestsPerSecond = 500;
const rotationsFull = 10;
const rotationsShort = 3;
/** A rotation comes at about half of the life. */
const secondsPerRotationMax = 16;
const lookMillis = 500;

/** Open loop: requests are due when they are due, whatever became of the ones before. */
export const claim: Claim = {
  text: "certificates that live 20 s rotate under 500 requests a second through two sidecars without one failed request (--full: ten times)",
  limitSeconds: 300,
  run: async (context) => {
    const rotations = context.isFull ? rotationsFull : rotationsShort;
    await using mesh = await openMesh({ kind: "up", args: ["--svid-lifetime", String(lifetimeSeconds)] });
    await using callee = await openService(mesh, "/proof/callee");
    await using caller = await openService(mesh, "/proof/caller");
    const allowed = await troth(mesh.path, "allow", "/proof/caller", "/proof/callee");
    if (allowed.code !== 0) return failed(`troth allow: ${allowed.stderr}`);

    const instances = [caller.status.instance, callee.status.instance];
    const before = await serialsOf(mesh, instances);
    const deadline = performance.now() + rotations * secondsPerRotationMax * 1000;
    let seen = before;
    const looking = setInterval(() => {
      void serialsOf(mesh, instances).then((serials) => {
        seen = serials;
      });
    }, lookMillis);
    const counts = (): number[] => instances.map((_, at) => (seen[at]?.size ?? 0) - (before[at]?.size ?? 0));
    const load = await openLoopLoad({
      outboundAddress: caller.outboundAddress,
      host: "callee.proof.mesh",
      requestsPerSecond,
      isOver: () => Math.min(...counts()) >= rotations || performance.now() > deadline,
    });
    clearInterval(looking);
    const figure =
      `${load.requests} requests in ${load.seconds.toFixed(1)} s, ${counts().join(" and ")} rotations (caller and callee), ` +
      `${load.failures} failed, p50 ${load.millisP50.toFixed(1)} ms, p99 ${load.millisP99.toFixed(1)} ms, max ${load.millisMax.toFixed(0)} ms`;
    if (Math.min(...counts()) < rotations) return failed(`too few rotations: ${figure}`);
    return load.failures === 0 ? ok(figure) : failed(`${figure}: ${load.seen.join("; ")}`);
  },
};

/** The distinct serial numbers that the trust log says each instance was issued. */
async function serialsOf(mesh: RunningMesh, instances: readonly string[]): Promise<Set<string>[]> {
  const serials = instances.map(() => new Set<string>());
  for (const { kind, body } of await statementsOf(mesh.directory.controlPlaneLog)) {
    const { instance, serial } = body;
    if (
      (kind !== "svid.issue" && kind !== "svid.put") ||
      typeof instance !== "string" ||
      typeof serial !== "string"
    )
      continue;
    serials[instances.indexOf(instance)]?.add(serial);
  }
  return serials;
}
