import { z } from "zod";
import { RunningCommand } from "../../test/apparatus/running-command.ts";
import { pinned } from "../cores.ts";

const extraSecondsMax = 20;

/** What can be asked for, and how long the answer is (without the prefix of a gRPC message). */
export const answerBytes = { "/1k": 1_024, "/16k": 16_384, "/bench.Echo/Unary": 1_024 } as const;

/** What the gRPC load generator says of a server that has no HTTP/2 there. */
export const speaksHttp1 = "the server speaks HTTP/1";

/** What is asked of a server, and how often. */
export interface Load {
  readonly connections: number;
  readonly path: keyof typeof answerBytes;
  /** Makes them gRPC calls over HTTP/2, so many at a time on each connection. */
  readonly streams?: number;
  readonly seconds: number;
  readonly warmupSeconds: number;
  /** Requests a second in an open loop; a closed loop without it. */
  readonly requestsPerSecond?: number;
  /** A POST with so many bytes instead of a GET; in a gRPC call the length of its message. */
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

/** Whom the load is for. */
export interface LoadTarget {
  /** The load generator for it, compiled. */
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
  args.push("--expect", String(answerBytes[load.path]));
  args.push("--connections", String(load.connections));
  args.push("--seconds", String(load.seconds), "--warmup", String(load.warmupSeconds));
  if (load.streams !== undefined) args.push("--streams", String(load.streams));
  if (load.requestsPerSecond !== undefined) args.push("--rate", String(load.requestsPerSecond));
  if (load.bodyBytes !== undefined) args.push("--body", String(load.bodyBytes));
  if (load.newConnections === true) args.push("--new-connections");
  return args;
}
