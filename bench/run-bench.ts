import { join } from "node:path";
import { type Checkout, commitOf, openCheckout } from "./checkout.ts";
import { type Cores, chooseCores } from "./cores.ts";
import { thisMachine } from "./machine.ts";
import { foreignCoresMax, foreignCoresNow } from "./measure/foreign-load.ts";
import { compileLoadGenerator } from "./measure/load.ts";
import { measureScenario, type NamedPair } from "./measure/measure-scenario.ts";
import { summarise } from "./measure/summarise.ts";
import type { BenchOptions } from "./options.ts";
import { type Application, openApplication } from "./peers/application.ts";
import { directPeer } from "./peers/direct.ts";
import { envoyPeer } from "./peers/envoy-pair.ts";
import { haproxyHttp1Peer, haproxyHttp2Peer } from "./peers/haproxy-pair.ts";
import { nginxPeer } from "./peers/nginx-pair.ts";
import type { Pair, Peer } from "./peers/pair.ts";
import { makeTestAuthority } from "./peers/test-authority.ts";
import { trothPeer } from "./peers/troth-pair.ts";
import { ratioPlot } from "./report/ratio-plot.ts";
import { type Reference, scenarioTable } from "./report/scenario-table.ts";
import { type RunFacts, type ScenarioResult, writeResults } from "./report/write-results.ts";
import { chooseScenarios } from "./scenarios.ts";

const idleLookMillis = 2_000;

/** One run of the bench. */
export interface BenchRun {
  readonly options: BenchOptions;
  /** For files of this run; goes away with it. */
  readonly folder: string;
  readonly stopped: AbortSignal;
  readonly repository: string;
}

interface LineUp {
  readonly peers: readonly Peer[];
  readonly facts: Pick<RunFacts, "pairs" | "skipped"> & Reference;
}

/** Measures Troth against its peers, or against another build of it; the exit code. */
export async function runBench(run: BenchRun): Promise<number> {
  const { options, folder, stopped } = run;
  const chosen = chooseScenarios(options.effort.name, options.only);
  if (chosen.length === 0) throw new Error(`no scenario has "${options.only}" in its name`);
  await using stack = new AsyncDisposableStack();
  const loadProgram = await compileLoadGenerator();
  const cores = chooseCores();
  const checkout = options.compare === "" ? undefined : openCheckout(options.compare, folder);
  const lineUp = lineUpOf(run.repository, checkout);
  const application = stack.use(await openApplication(folder, cores.client));
  const stage = {
    folder,
    cores,
    authority: makeTestAuthority(join(folder, "authority")),
    appPort: application.port,
  };
  const facts = await factsOf(run, { lineUp, cores, application });
  process.stdout.write(introduction(facts));
  const pairs: NamedPair[] = [];
  for (const peer of lineUp.peers) {
    stopped.throwIfAborted();
    tell(`starting ${peer.name}`);
    const openFresh = (): Promise<Pair> => peer.open(stage);
    pairs.push({ name: peer.name, pair: stack.use(await openFresh()), openFresh });
  }
  const results: ScenarioResult[] = [];
  for (const scenario of chosen) {
    if (scenario.kind === "not-built") {
      process.stdout.write(`\n${scenario.name}: ${scenario.title}: not built yet\n`);
      continue;
    }
    const measured = await measureScenario(scenario, pairs, options.effort, {
      loadProgram,
      cores,
      folder,
      tell,
      stopped,
    });
    tell("");
    const names = pairs.map(({ name }) => name);
    const rows = summarise(measured, names, facts.base);
    results.push({ ...measured, rows });
    process.stdout.write(scenarioTable(scenario, rows, facts, checkout !== undefined));
  }
  const captions = captionsOf(facts, results);
  const path = writeResults(facts, results, ratioPlot(results, { base: facts.base, captions }));
  process.stdout.write(`\n${disturbance(results)}written: ${path}.json, ${path}.svg\n`);
  return results.some(({ rows }) => rows.some(({ errors }) => errors.length > 0)) ? 1 : 0;
}

/** The base first, the same thing again last: what stands between them is framed by two measurements of one thing. */
function lineUpOf(repository: string, checkout: Checkout | undefined): LineUp {
  const here = { root: repository, name: checkout === undefined ? "troth" : "here" };
  const candidates =
    checkout === undefined
      ? [nginxPeer, haproxyHttp1Peer, haproxyHttp2Peer, envoyPeer, trothPeer(here), directPeer]
      : [trothPeer({ root: checkout.root, name: "other" }), trothPeer(here)];
  const peers: Peer[] = [];
  const pairs: { name: string; version: string; about: string }[] = [];
  const skipped: { name: string; howToGet: string }[] = [];
  for (const peer of candidates) {
    const found = peer.find();
    if ("missing" in found) {
      skipped.push({ name: peer.name, howToGet: found.missing });
      continue;
    }
    peers.push(peer);
    pairs.push({
      name: peer.name,
      version: versionOf(peer.name, found.version, { repository, checkout }),
      about: peer.about,
    });
  }
  const [base] = peers;
  if (base === undefined) throw new Error("nothing to measure");
  const control = `${base.name} again`;
  return {
    peers: [...peers, { ...base, name: control }],
    facts: { pairs, skipped, base: base.name, control },
  };
}

function versionOf(
  name: string,
  found: string,
  { repository, checkout }: { readonly repository: string; readonly checkout: Checkout | undefined },
): string {
  if (name === "other" && checkout !== undefined) return checkout.about;
  return name === "troth" || name === "here" ? commitOf(repository) : found;
}

async function factsOf(
  { options, repository }: BenchRun,
  {
    lineUp,
    cores,
    application,
  }: { readonly lineUp: LineUp; readonly cores: Cores; readonly application: Application },
): Promise<RunFacts> {
  return {
    takenAt: new Date().toISOString(),
    effort: `${options.effort.name}: ${options.effort.rounds} rounds of ${options.effort.closedSeconds} s (closed loop), ${options.effort.openSeconds} s (open loop)`,
    machine: thisMachine(),
    commit: commitOf(repository),
    application: application.about,
    pinning:
      cores.client === undefined || cores.proxies === undefined
        ? "nothing is pinned"
        : `core ${cores.client}: client and application; core ${cores.proxies}: both proxies of a pair`,
    ...lineUp.facts,
    foreignCoresBefore: await foreignCoresNow(idleLookMillis),
  };
}

function introduction(facts: RunFacts): string {
  const { machine } = facts;
  const lines = [
    `${facts.takenAt}, commit ${facts.commit}, ${facts.effort}`,
    `${machine.processor}, ${machine.cores} cores, ${machine.memoryGib} GiB, ${machine.system}, Linux ${machine.kernel}, Node ${machine.node} (OpenSSL ${machine.openssl})`,
    `${facts.pinning}; application: ${facts.application}`,
    ...facts.pairs.map(
      ({ name, version, about }) => `  ${[name, version].filter(Boolean).join(" ")}: ${about}`,
    ),
    ...facts.skipped.map(
      ({ name, howToGet }) => `  ${name}: skipped, not installed; get it with: ${howToGet}`,
    ),
    `other processes use ${facts.foreignCoresBefore.toFixed(2)} cores now${facts.foreignCoresBefore > foreignCoresMax ? `, more than ${foreignCoresMax}: expect disturbed rounds` : ""}`,
  ];
  return `${lines.join("\n")}\n`;
}

function captionsOf({ machine, takenAt }: RunFacts, results: readonly ScenarioResult[]): string[] {
  const { processor, cores, kernel, node } = machine;
  const state = disturbance(results) === "" ? "" : "; PRELIMINARY: others used the machine";
  return [
    `${processor}, ${cores} cores, Linux ${kernel}, Node ${node}, ${takenAt.slice(0, 10)}`,
    `Bars: median of the rounds, lines: 95 % interval${state}`,
  ];
}

function disturbance(results: readonly ScenarioResult[]): string {
  const rows = results.flatMap((result) => result.rows);
  const disturbed = rows.reduce((sum, row) => sum + row.disturbedRounds, 0);
  const all = rows.reduce((sum, row) => sum + row.goodRounds, 0);
  return disturbed === 0
    ? ""
    : `preliminary: other processes disturbed ${disturbed} of ${all} measurements (more than ${foreignCoresMax} cores); repeat this on an idle machine\n`;
}

/** Progress on a terminal, on one line that is written over. */
function tell(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}
