import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { runCommand } from "../../test/apparatus/running-command.ts";
import { type Cores, pinned } from "../cores.ts";
import type { Pair } from "../peers/pair.ts";
import { type Effort, loadOf, type Scenario } from "../scenarios.ts";
import { ForeignLoad } from "./foreign-load.ts";
import { type Load, type LoadResult, runLoad, runLoadAndHold } from "./load.ts";
import { memoryOf, processorNanos } from "./processor-time.ts";

/** The numbers that a measurement can have in it; each name ends in its unit. */
export const figures = [
  "requestsPerSecond",
  "meanMicros",
  "p50Micros",
  "p90Micros",
  "p99Micros",
  "p999Micros",
  "maxMicros",
  "pairCpuMicros",
  "outboundCpuMicros",
  "inboundCpuMicros",
  "handshakesPerSecond",
  "handshakeCpuMicros",
  "outboundRssMib",
  "inboundRssMib",
  "outboundPssMib",
  "inboundPssMib",
  "idleConnectionKib",
] as const;

/** One of them. */
export type Figure = (typeof figures)[number];

/** One pair measured once. */
export interface Measurement {
  readonly figures: Readonly<Partial<Record<Figure, number>>>;
  /** How many cores others used meanwhile. */
  readonly foreignCores: number;
  /** The first errors; any of them makes the measurement void. */
  readonly errors: readonly string[];
  readonly histogram?: LoadResult["histogram"];
  /** TLS group and cipher, where they were seen. */
  readonly tls?: string;
}

/** What is needed to measure. */
export interface Instruments {
  /** The load generator for the scenario, compiled. */
  readonly loadProgram: string;
  readonly cores: Cores;
  readonly folder: string;
}

const mebibyte = 1024 * 1024;
const settleMillis = 500;
/** Requests that are answered, but not counted, at the beginning of each measurement. */
const settleSeconds = 0.1;
const handshakeLanes = 8;
const handshakeMillisExtra = 30_000;
const loadBeforeMemory: Omit<Load, "seconds" | "warmupSeconds"> = { connections: 64, path: "/1k" };

/** Whether a scenario can be measured of a pair. */
export function isApplicable({ kind }: Scenario, pair: Pair): boolean {
  if (kind === "handshakes") return pair.mesh !== undefined;
  return kind !== "memory" || pair.outbound.length > 0;
}

/** Measures a pair once. */
export async function measurePair(
  scenario: Scenario,
  pair: Pair,
  effort: Effort,
  instruments: Instruments,
): Promise<Measurement> {
  if (scenario.kind === "handshakes") return measureHandshakes(pair, effort, instruments);
  const load = loadOf(scenario, effort);
  if (load === undefined) throw new Error(`${scenario.name} has no load`);
  return scenario.kind === "memory"
    ? measureMemory(load, pair, effort, instruments)
    : measureLoad(load, pair, instruments);
}

async function measureLoad(load: Load, pair: Pair, instruments: Instruments): Promise<Measurement> {
  const target = targetOf(pair, instruments);
  // Connections between the proxies may have ended since the last round; opening them again is not what is measured.
  await runLoad({ ...load, seconds: load.warmupSeconds, warmupSeconds: 0 }, target);
  const foreign = new ForeignLoad();
  const before = { outbound: processorNanos(pair.outbound), inbound: processorNanos(pair.inbound) };
  const result = await runLoad({ ...load, warmupSeconds: settleSeconds }, target);
  const outbound = (processorNanos(pair.outbound) - before.outbound) / 1000 / result.completed;
  const inbound = (processorNanos(pair.inbound) - before.inbound) / 1000 / result.completed;
  const { mean, p50, p90, p99, p999, max } = result.latencyNanos;
  return {
    figures: {
      requestsPerSecond: result.requests / result.seconds,
      meanMicros: mean / 1000,
      p50Micros: p50 / 1000,
      p90Micros: p90 / 1000,
      p99Micros: p99 / 1000,
      p999Micros: p999 / 1000,
      maxMicros: max / 1000,
      ...(pair.outbound.length === 0
        ? {}
        : { pairCpuMicros: outbound + inbound, outboundCpuMicros: outbound, inboundCpuMicros: inbound }),
    },
    foreignCores: foreign.cores(result.cpuSeconds),
    errors: errorsOf(result),
    histogram: result.histogram,
  };
}

/** After a second of load; then with idle connections on which one request at least has been answered. */
async function measureMemory(
  load: Load,
  pair: Pair,
  { closedSeconds, warmupSeconds }: Effort,
  instruments: Instruments,
): Promise<Measurement> {
  const foreign = new ForeignLoad();
  const target = targetOf(pair, instruments);
  const first = await runLoad({ ...loadBeforeMemory, seconds: closedSeconds, warmupSeconds }, target);
  await sleep(settleMillis);
  const outbound = memoryOf(pair.outbound);
  const inbound = memoryOf(pair.inbound);
  const held = await runLoadAndHold(load, target, async (result) => {
    await sleep(settleMillis);
    return { result, outbound: memoryOf(pair.outbound) };
  });
  const grown = held.outbound.proportionalBytes - outbound.proportionalBytes;
  return {
    figures: {
      outboundRssMib: outbound.residentBytes / mebibyte,
      inboundRssMib: inbound.residentBytes / mebibyte,
      outboundPssMib: outbound.proportionalBytes / mebibyte,
      inboundPssMib: inbound.proportionalBytes / mebibyte,
      idleConnectionKib: grown / 1024 / load.connections,
    },
    foreignCores: foreign.cores(first.cpuSeconds + held.result.cpuSeconds),
    errors: [...errorsOf(first), ...errorsOf(held.result)],
  };
}

const handshakeSchema = z.object({
  handshakes: z.number(),
  errors: z.number(),
  errorTexts: z.array(z.string()),
  group: z.string(),
  cipher: z.string(),
  cpuSeconds: z.number(),
});

/** The client is slower than most servers, so what counts is the server's processor time per connection. */
async function measureHandshakes(
  { mesh, inbound }: Pair,
  { closedSeconds }: Effort,
  { cores, folder }: Instruments,
): Promise<Measurement> {
  if (mesh === undefined) throw new Error("no listener to shake hands with");
  await using granted = await mesh.openCredentials();
  const ownFolder = mkdtempSync(join(folder, "handshake-"));
  const certFile = join(ownFolder, "cert.pem");
  const keyFile = join(ownFolder, "key.pem");
  writeFileSync(certFile, granted.credentials.cert ?? "", { mode: 0o600 });
  writeFileSync(keyFile, granted.credentials.key ?? "", { mode: 0o600 });
  const script = join(import.meta.dirname, "handshake-client.ts");
  const args = [
    script,
    mesh.address,
    mesh.host,
    certFile,
    keyFile,
    String(handshakeLanes),
    String(closedSeconds),
  ];

  const foreign = new ForeignLoad();
  const before = processorNanos(inbound);
  const ended = await runCommand(...pinned(cores.client, process.execPath, args), {
    timeoutMillis: closedSeconds * 1000 + handshakeMillisExtra,
  });
  if (ended.code !== 0)
    throw new Error(`the handshake client ended with ${ended.code}: ${ended.stderr.trim()}`);
  const result = handshakeSchema.parse(JSON.parse(ended.stdout));
  const cpuMicros = (processorNanos(inbound) - before) / 1000 / result.handshakes;
  return {
    figures: { handshakeCpuMicros: cpuMicros, handshakesPerSecond: 1e6 / cpuMicros },
    foreignCores: foreign.cores(result.cpuSeconds),
    errors: result.errors > 0 ? result.errorTexts : result.handshakes > 0 ? [] : ["no handshake"],
    tls: `${result.group} ${result.cipher}`,
  };
}

function targetOf(
  { address, host }: Pair,
  { loadProgram, cores }: Instruments,
): Parameters<typeof runLoad>[1] {
  return { program: loadProgram, address, host, core: cores.client };
}

function errorsOf({ errors, errorTexts, requests }: LoadResult): readonly string[] {
  if (errors > 0) return [`${errors} errors`, ...errorTexts];
  return requests > 0 ? [] : ["no request was answered"];
}
