import { mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { chooseCores } from "./cores.ts";
import { compileLoadGenerator, runLoad } from "./measure/load.ts";
import { openApplication } from "./peers/application.ts";
import { makeTestAuthority } from "./peers/test-authority.ts";
import { trothPeer } from "./peers/troth-pair.ts";
import { alignedTable } from "./report/aligned-table.ts";
import { parseProfile, type SelfTime, selfTimes } from "./report/self-times.ts";
import type { BenchRun } from "./run-bench.ts";

const profileSeconds = 8;
const warmupSeconds = 2;
const functionsShown = 25;

/** Puts a saturating load on two sidecars and says in which functions they spent their time meanwhile; the exit code. */
export async function runProfile({ folder, repository }: BenchRun): Promise<number> {
  const profiles = join(folder, "profiles");
  mkdirSync(profiles);
  const program = await compileLoadGenerator();
  const cores = chooseCores();
  const roles = { outbound: 0, inbound: 0 };
  let window: readonly [number, number];
  {
    await using stack = new AsyncDisposableStack();
    const application = stack.use(await openApplication(folder, cores.client));
    const authority = makeTestAuthority(join(folder, "authority"));
    const env = { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profiles}` };
    const peer = trothPeer({ root: repository, name: "troth", env });
    const pair = stack.use(await peer.open({ folder, cores, authority, appPort: application.port }));
    roles.outbound = pair.outbound[0] ?? 0;
    roles.inbound = pair.inbound[0] ?? 0;
    const load = { connections: 64, path: "/1k", warmupSeconds } as const;
    const target = { program, address: pair.address, host: pair.host, core: cores.client };
    await runLoad({ ...load, seconds: 1 }, target);
    const start = monotonicMicros();
    const result = await runLoad({ ...load, seconds: profileSeconds }, target);
    window = [start, monotonicMicros()];
    process.stdout.write(
      `64 connections, GET 1 KiB: ${Math.round(result.requests / result.seconds)} requests/s while profiled, ${result.errors} errors\n`,
    );
  }
  return report(roles, { profiles, window, repository });
}

/** The profiles are written as the sidecars end. */
function report(
  roles: Readonly<Record<string, number>>,
  {
    profiles,
    window,
    repository,
  }: { profiles: string; window: readonly [number, number]; repository: string },
): number {
  const kept = join(repository, "bench", "results");
  mkdirSync(kept, { recursive: true });
  for (const [role, pid] of Object.entries(roles)) {
    const file = readdirSync(profiles).find((name) => name.includes(`.${pid}.0.`));
    if (file === undefined) throw new Error(`the ${role} sidecar left no profile`);
    const text = readFileSync(join(profiles, file), "utf8");
    const path = join(kept, `profile-${role}.cpuprofile`);
    renameSync(join(profiles, file), path);
    process.stdout.write(`\n${role} sidecar, self time; whole profile: ${path}\n`);
    process.stdout.write(selfTimeTable(selfTimes(parseProfile(text), window)));
  }
  return 0;
}

function selfTimeTable(times: readonly SelfTime[]): string {
  const all = times.reduce((sum, { micros }) => sum + micros, 0);
  const rows = times
    .slice(0, functionsShown)
    .map(({ name, place, micros }) => [name, `${((micros / all) * 100).toFixed(1)} %`, place]);
  return alignedTable(["function", "self", "where"], rows);
}

/** The clock that profiles are written by. */
function monotonicMicros(): number {
  return Number(process.hrtime.bigint() / 1000n);
}
