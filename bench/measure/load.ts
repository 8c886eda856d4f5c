import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { z } from "zod";
import { messageOf } from "../../src/base/mesh-error.ts";
import { RunningCommand } from "../../test/apparatus/running-command.ts";
import { cacheFolder } from "../cache-folder.ts";
import { pinned } from "../cores.ts";

const extraSecondsMax = 20;

/** What is asked of a server, and how often. */
export interface Load {
  readonly connections: number;
  readonly path: "/1k" | "/16k";
  readonly seconds: number;
  readonly warmupSeconds: number;
  /** Requests a second in an open loop; a closed loop without it. */
  readonly requestsPerSecond?: number;
  /** A POST with so many bytes instead of a GET. */
  readonly bodyBytes?: number;
  /** A connection of its own for each request. */
  readonly newConnections?: boolean;
}

const nanosSchema = z.object({
  mean: z.number(),
  p50: z.number(),
  p90: z.number(),
  p99: z.number(),
  p999: z.number(),
  max: z.number(),
});

const resultSchema = z.object({
  /** Answered within the measured time. */
  requests: z.number(),
  /** Answered at all, the warm-up included. */
  completed: z.number(),
  seconds: z.number().positive(),
  errors: z.number(),
  unanswered: z.number(),
  bytesRead: z.number(),
  cpuSeconds: z.number(),
  latencyNanos: nanosSchema,
  errorTexts: z.array(z.string()),
  /** Pairs of an upper bound in nanoseconds and how many requests fell below it and above the one before. */
  histogram: z.array(z.tuple([z.number(), z.number()])),
});

/** What the load generator saw. */
export type LoadResult = z.infer<typeof resultSchema>;

/** Reads the load generator's answer; throws where it is none. */
export function parseLoadResult(text: string): LoadResult {
  return resultSchema.parse(JSON.parse(text));
}

/** One histogram of several rounds, smallest values first. */
export function mergeHistograms(all: readonly LoadResult["histogram"][]): LoadResult["histogram"] {
  const merged = new Map<number, number>();
  for (const histogram of all)
    for (const [upper, count] of histogram) merged.set(upper, (merged.get(upper) ?? 0) + count);
  return [...merged].sort(([left], [right]) => left - right);
}

/** The value that this share of a histogram's requests does not exceed; NaN of an empty one. */
export function histogramQuantile(histogram: LoadResult["histogram"], share: number): number {
  const wanted = Math.max(1, Math.ceil(share * histogram.reduce((sum, [, count]) => sum + count, 0)));
  let seen = 0;
  for (const [upper, count] of histogram) {
    seen += count;
    if (seen >= wanted) return upper;
  }
  return Number.NaN;
}

/** Compiles the load generator unless this very source has been; resolves to the program. Needs a C compiler. */
export async function compileLoadGenerator(): Promise<string> {
  const source = join(import.meta.dirname, "..", "load-generator", "load.c");
  const digest = createHash("sha256").update(readFileSync(source)).digest("hex").slice(0, 16);
  const program = join(cacheFolder, `load-${digest}`);
  if (existsSync(program)) return program;
  mkdirSync(cacheFolder, { recursive: true });
  const unfinished = `${program}.${process.pid}`;
  try {
    await promisify(execFile)("cc", ["-O2", "-std=c11", "-Wall", "-Wextra", "-o", unfinished, source]);
  } catch (error) {
    throw new Error(
      `the load generator could not be compiled; install a C compiler (Debian: apt-get install gcc libc6-dev): ${messageOf(error)}`,
      { cause: error },
    );
  }
  renameSync(unfinished, program);
  return program;
}

/** Whom the load is for. */
export interface LoadTarget {
  /** The compiled load generator. */
  readonly program: string;
  /** host:port, IPv4. */
  readonly address: string;
  readonly host: string;
  readonly core: number | undefined;
}

/** Puts a load on a server and reports what came of it. */
export async function runLoad(load: Load, target: LoadTarget): Promise<LoadResult> {
  await using command = startLoad(load, target);
  const ended = await command.ended((load.seconds + load.warmupSeconds + extraSecondsMax) * 1000);
  if (ended.code !== 0) throw new Error(`the load generator ended with ${ended.code}: ${command.tail()}`);
  return parseLoadResult(ended.stdout);
}

/** The same, but its connections stay open until the command is disposed of; `holding` runs meanwhile. */
export async function runLoadAndHold<Value>(
  load: Load,
  target: LoadTarget,
  holding: (result: LoadResult) => Promise<Value>,
): Promise<Value> {
  await using command = startLoad(load, target, ["--hold-seconds", String(extraSecondsMax)]);
  const line = await command.untilLine(
    /^\{.*\}$/,
    (load.seconds + load.warmupSeconds + extraSecondsMax) * 1000,
  );
  return await holding(parseLoadResult(line));
}

function startLoad(load: Load, target: LoadTarget, more: readonly string[] = []): RunningCommand {
  const [file, args] = pinned(target.core, target.program, [...loadArguments(load, target), ...more]);
  return new RunningCommand(file, args);
}

/** The load generator's arguments. */
export function loadArguments(load: Load, { address, host }: Pick<LoadTarget, "address" | "host">): string[] {
  const args = ["--address", address, "--host", host, "--path", load.path];
  args.push("--expect", load.path === "/1k" ? "1024" : "16384");
  args.push("--connections", String(load.connections));
  args.push("--seconds", String(load.seconds), "--warmup", String(load.warmupSeconds));
  if (load.requestsPerSecond !== undefined) args.push("--rate", String(load.requestsPerSecond));
  if (load.bodyBytes !== undefined) args.push("--body", String(load.bodyBytes));
  if (load.newConnections === true) args.push("--new-connections");
  return args;
}
