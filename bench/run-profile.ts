import { mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { compileProgram, grpcLoadGenerator, httpLoadGenerator } from "./compile-program.ts";
import { chooseCores } from "./cores.ts";
import { isApplicable, measurePair } from "./measure/measure-pair.ts";
import { openApplicationFor } from "./peers/application.ts";
import { makeTestAuthority } from "./peers/test-authority.ts";
import { trothPeer } from "./peers/troth-pair.ts";
import { alignedTable } from "./report/aligned-table.ts";
import { parseProfile, type SelfTime, selfTimes } from "./report/self-times.ts";
import type { BenchRun } from "./run-bench.ts";
import { chooseScenarios, type Effort, edgesOf } from "./scenarios.ts";

const functionsShown = 25;
const scenarioDefault = "saturation-64";
const effort: Effort = {
  name: "default",
  rounds: 1,
  closedSeconds: 8,
  openSeconds: 8,
  warmupSeconds: 2,
};

/** Puts the load of one scenario on two sidecars and says in which functions they spent their time; the exit code. */
export async function runProfile({ folder, repository, options }: BenchRun): Promise<number> {
  const wanted = options.only === "" ? scenarioDefault : options.only;
  const [scenario] = chooseScenarios("full", wanted);
  if (scenario === undefined) throw new Error(`no scenario has "${wanted}" in its name`);
  const profiles = join(folder, "profiles");
  mkdirSync(profiles);
  const edges = edgesOf(scenario);
  const loadProgram = await compileProgram(edges === "grpc" ? grpcLoadGenerator : httpLoadGenerator);
  const instruments = { loadProgram, cores: chooseCores(), folder };
  const roles = { outbound: 0, inbound: 0 };
  let window: readonly [number, number];
  {
    await using stack = new AsyncDisposableStack();
    const application = stack.use(await openApplicationFor(edges, folder, instruments.cores.client));
    const stage = {
      ...instruments,
      authority: makeTestAuthority(join(folder, "authority")),
      appPort: application.port,
    };
    const env = { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profiles}` };
    const pair = stack.use(await trothPeer({ root: repository, name: "troth", env }).open(stage));
    if (!isApplicable(scenario, pair)) throw new Error(`${scenario.name} cannot be profiled`);
    roles.outbound = pair.outbound[0] ?? 0;
    roles.inbound = pair.inbound[0] ?? 0;
    const start = monotonicMicros();
    const { figures, errors } = await measurePair(scenario, pair, effort, instruments);
    // What was compiled meanwhile is not what is looked for.
    window = [start + effort.warmupSeconds * 1e6, monotonicMicros()];
    const named = Object.entries(figures).map(([name, value]) => `${name} ${value.toFixed(1)}`);
    process.stdout.write(`${scenario.title}, while profiled: ${[...named, ...errors].join(", ")}\n`);
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

/** Shares of the time that a sidecar did something; while it waits for the core, its stack stands still and counts. */
function selfTimeTable(times: readonly SelfTime[]): string {
  const busy = times.filter(({ name }) => name !== "(idle)");
  const all = busy.reduce((sum, { micros }) => sum + micros, 0);
  const rows = busy
    .slice(0, functionsShown)
    .map(({ name, place, micros }) => [name, `${((micros / all) * 100).toFixed(1)} %`, place]);
  return alignedTable(["function", "self", "where"], rows);
}

/** The clock that profiles are written by. */
function monotonicMicros(): number {
  return Number(process.hrtime.bigint() / 1000n);
}
