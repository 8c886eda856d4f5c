import { join } from "node:path";
import { type Checkout, commitOf, openCheckout } from "./checkout.ts";
import { compileProgram, grpcLoadGenerator, httpLoadGenerator, missingForGrpc } from "./compile-program.ts";
import { type Cores, chooseCores } from "./cores.ts";
import { thisMachine } from "./machine.ts";
import { foreignCoresMax, foreignCoresNow } from "./measure/foreign-load.ts";
import { runLoad, speaksHttp1 } from "./measure/load.ts";
import { measureScenario, type NamedPair } from "./measure/measure-scenario.ts";
import { summarise } from "./measure/summarise.ts";
import type { BenchOptions } from "./options.ts";
import { aboutApplication, openApplicationFor } from "./peers/application.ts";
import { directPeer } from "./peers/direct.ts";
import { envoyGrpcPeer, envoyPeer } from "./peers/envoy-pair.ts";
import { haproxyHttp1Peer, haproxyHttp2Peer } from "./peers/haproxy-pair.ts";
import { nginxPeer } from "./peers/nginx-pair.ts";
import type { Pair, Peer } from "./peers/pair.ts";
import { makeTestAuthority, type TestAuthority } from "./peers/test-authority.ts";
import { trothPeer } from "./peers/troth-pair.ts";
import { ratioPlot } from "./report/ratio-plot.ts";
import { type Reference, scenarioTable } from "./report/scenario-table.ts";
import { type RunFacts, type ScenarioResult, writeResults } from "./report/write-results.ts";
import { chooseScenarios, type Edges, edgesOf, type Scenario } from "./scenarios.ts";

const idleLookMillis = 2_000;

/** One run of the bench. */
export interface BenchRun {
  readonly options: BenchOptions;
  /** For files of this run; goes away with it. */
  readonly folder: string;
  readonly stopped: AbortSignal;
  readonly repository: string;
}

/** What is measured beside each other, for scenarios with the same protocol at the edges. */
interface LineUp {
  readonly edges: Edges;
  readonly scenarios: readonly Scenario[];
  readonly peers: readonly Peer[];
  readonly reference: Reference;
  readonly pairs: RunFacts["pairs"];
  readonly skipped: RunFacts["skipped"];
}

/** What the line-ups of a run share. */
interface Ground {
  readonly run: BenchRun;
  readonly cores: Cores;
  readonly authority: TestAuthority;
  readonly isComparison: boolean;
}

/** Measures Troth against its peers, or against another build of it; the exit code. */
export async function runBench(run: BenchRun): Promise<number> {
  const { options, folder } = run;
  const chosen = chooseScenarios(options.effort.name, options.only);
  if (chosen.length === 0) throw new Error(`no scenario has "${options.only}" in its name`);
  const cores = chooseCores();
  const checkout = options.compare === "" ? undefined : openCheckout(options.compare, folder);
  const authority = makeTestAuthority(join(folder, "authority"));
  const lineUps = (["http1", "grpc"] as const)
    .map((edges) => lineUpOf(edges, chosen, { ...run, checkout }))
    .filter(({ scenarios }) => scenarios.length > 0);
  const facts = await factsOf(run, lineUps, cores);
  process.stdout.write(introduction(facts));
  const results: ScenarioResult[] = [];
  const isComparison = checkout !== undefined || options.tokens;
  for (const lineUp of lineUps)
    results.push(...(await measureLineUp(lineUp, { run, cores, authority, isComparison })));
  const captions = captionsOf(facts, results);
  const path = writeResults(facts, results, ratioPlot(results, { base: facts.base, captions }));
  process.stdout.write(`\n${disturbance(results)}written: ${path}.json, ${path}.svg\n`);
  return results.some(({ rows }) => rows.some(({ errors }) => errors.length > 0)) ? 1 : 0;
}

async function measureLineUp(lineUp: LineUp, ground: Ground): Promise<ScenarioResult[]> {
  const { edges, scenarios, reference } = lineUp;
  const { cores, run } = ground;
  const missing = edges === "grpc" ? missingForGrpc() : undefined;
  if (missing !== undefined) {
    for (const { name } of scenarios)
      process.stdout.write(
        `\n${name}: skipped, there is no nghttp2 to compile with; get it with: ${missing}\n`,
      );
    return [];
  }
  await using stack = new AsyncDisposableStack();
  const loadProgram = await compileProgram(edges === "grpc" ? grpcLoadGenerator : httpLoadGenerator);
  const instruments = { loadProgram, cores, folder: run.folder, tell, stopped: run.stopped };
  const pairs = await openPairs(stack, lineUp, ground, loadProgram);
  const names = pairs.map(({ name }) => name);
  const results: ScenarioResult[] = [];
  if (!names.includes(reference.base)) return results;
  for (const scenario of scenarios) {
    const measured = await measureScenario(scenario, pairs, run.options.effort, instruments);
    tell("");
    const rows = summarise(measured, names, reference.base);
    results.push({ ...measured, rows, base: reference.base });
    process.stdout.write(scenarioTable(scenario, rows, reference, ground.isComparison));
  }
  return results;
}

/** Opens the application and all pairs in front of it; the stack closes them. */
async function openPairs(
  stack: AsyncDisposableStack,
  { edges, peers }: LineUp,
  { run, cores, authority }: Ground,
  loadProgram: string,
): Promise<NamedPair[]> {
  const application = stack.use(await openApplicationFor(edges, run.folder, cores.client));
  const stage = { folder: run.folder, cores, authority, appPort: application.port };
  const pairs: NamedPair[] = [];
  for (const peer of peers) {
    run.stopped.throwIfAborted();
    tell(`starting ${peer.name}`);
    const openFresh = (): Promise<Pair> => peer.open(stage);
    const pair = stack.use(await openFresh());
    if (edges === "grpc" && !(await hasHttp2(pair, { program: loadProgram, core: cores.client }))) {
      process.stdout.write(`${peer.name}: skipped with gRPC, since it has no HTTP/2 at the edges\n`);
      continue;
    }
    pairs.push({ name: peer.name, pair, openFresh });
  }
  return pairs;
}

/** Whether a pair does not answer gRPC as HTTP/1; what else is wrong with it, measuring it shows. */
async function hasHttp2(
  { address, host }: Pair,
  tools: { readonly program: string; readonly core: number | undefined },
): Promise<boolean> {
  const load = {
    connections: 1,
    streams: 1,
    path: "/bench.Echo/Unary",
    seconds: 0.1,
    warmupSeconds: 0,
  } as const;
  const { errorTexts } = await runLoad(load, { ...tools, address, host });
  return !errorTexts.includes(speaksHttp1);
}

/** The base first, the same thing again last: what stands between them is framed by two measurements of one thing. */
function lineUpOf(
  edges: Edges,
  chosen: readonly Scenario[],
  { options, repository, checkout }: BenchRun & { readonly checkout: Checkout | undefined },
): LineUp {
  const here = { root: repository, name: checkout === undefined ? "troth" : "here" };
  const others: Readonly<Record<Edges, readonly Peer[]>> = {
    http1: [nginxPeer, haproxyHttp1Peer, haproxyHttp2Peer, envoyPeer],
    grpc: [envoyGrpcPeer],
  };
  const candidates = options.tokens
    ? [trothPeer({ ...here, name: "without tokens", requestTokens: "off" }), trothPeer(here)]
    : checkout === undefined
      ? [...others[edges], trothPeer(here), directPeer]
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
    edges,
    scenarios: chosen.filter((scenario) => edgesOf(scenario) === edges),
    peers: [...peers, { ...base, name: control }],
    reference: { base: base.name, control },
    pairs,
    skipped,
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
  lineUps: readonly LineUp[],
  cores: Cores,
): Promise<RunFacts> {
  const [first] = lineUps;
  if (first === undefined) throw new Error("nothing to measure");
  return {
    takenAt: new Date().toISOString(),
    effort: `${options.effort.name}: ${options.effort.rounds} rounds of ${options.effort.closedSeconds} s (closed loop), ${options.effort.openSeconds} s (open loop)`,
    machine: thisMachine(),
    commit: commitOf(repository),
    application: lineUps.map(({ edges }) => aboutApplication(edges)).join("; "),
    pinning:
      cores.client === undefined || cores.proxies === undefined
        ? "nothing is pinned"
        : `core ${cores.client}: client and application; core ${cores.proxies}: both proxies of a pair`,
    ...first.reference,
    pairs: eachNameOnce(lineUps.flatMap(({ pairs }) => pairs)),
    skipped: eachNameOnce(lineUps.flatMap(({ skipped }) => skipped)),
    foreignCoresBefore: await foreignCoresNow(idleLookMillis),
  };
}

function eachNameOnce<Named extends { readonly name: string }>(all: readonly Named[]): Named[] {
  return [...new Map(all.map((one) => [one.name, one])).values()];
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
