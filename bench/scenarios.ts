import type { Load } from "./measure/load.ts";

/** How long and how often each scenario is measured. */
export interface Effort {
  readonly name: "quick" | "default" | "full";
  readonly rounds: number;
  readonly closedSeconds: number;
  readonly openSeconds: number;
  readonly warmupSeconds: number;
}

/** The three efforts; six rounds are the fewest that give a 95 % interval. */
export const efforts: Readonly<Record<Effort["name"], Effort>> = {
  quick: { name: "quick", rounds: 6, closedSeconds: 0.7, openSeconds: 1.5, warmupSeconds: 0.2 },
  default: { name: "default", rounds: 10, closedSeconds: 1.5, openSeconds: 3, warmupSeconds: 0.3 },
  full: { name: "full", rounds: 14, closedSeconds: 3, openSeconds: 5, warmupSeconds: 0.5 },
};

/** What is measured of each pair in each round. */
export interface Scenario {
  readonly name: string;
  readonly title: string;
  /** Whether `--quick` measures it too. */
  readonly isQuick: boolean;
  readonly kind: "saturation" | "latency" | "handshakes" | "memory";
  /** Without the times, which come from the effort. */
  readonly load?: Omit<Load, "seconds" | "warmupSeconds">;
}

/** Fewer than of others: memory hardly varies, and each round starts proxies anew. */
const memoryRounds = 2;
const idleConnections = 1_000;
/** At the rate above, long enough for an answer on each connection: one that never asked is not idle but late. */
const memorySeconds = 2.5;
const latencyRate = 1_000;

/** Everything that can be measured, in the order in which it is. */
export const scenarios: readonly Scenario[] = [
  ...[1, 4, 16, 64, 256].map((connections) => ({
    name: `saturation-${connections}`,
    title: `GET 1 KiB, closed loop, ${connections} ${connections === 1 ? "connection" : "connections"}`,
    isQuick: connections === 1 || connections === 64,
    kind: "saturation" as const,
    load: { connections, path: "/1k" as const },
  })),
  {
    name: "get-16k",
    title: "GET 16 KiB, closed loop, 64 connections",
    isQuick: true,
    kind: "saturation",
    load: { connections: 64, path: "/16k" },
  },
  {
    name: "post-16k",
    title: "POST 16 KiB, answer 1 KiB, closed loop, 64 connections",
    isQuick: false,
    kind: "saturation",
    load: { connections: 64, path: "/1k", bodyBytes: 16_384 },
  },
  {
    name: "new-connection",
    title: "a new client connection per GET 1 KiB, closed loop, 16 at a time",
    isQuick: true,
    kind: "saturation",
    load: { connections: 16, path: "/1k", newConnections: true },
  },
  ...[16, 64].map((connections) => ({
    name: `latency-${connections}`,
    title: `GET 1 KiB, open loop, ${latencyRate} requests/s, ${connections} connections`,
    isQuick: connections === 64,
    kind: "latency" as const,
    load: { connections, path: "/1k" as const, requestsPerSecond: latencyRate },
  })),
  {
    name: "handshakes",
    title: "a new mutual TLS connection to the inbound proxy per GET 1 KiB, 8 at a time",
    isQuick: true,
    kind: "handshakes",
  },
  {
    name: "memory",
    title: "memory of freshly started proxies after load, and with 1000 idle client connections",
    isQuick: true,
    kind: "memory",
    load: { connections: idleConnections, path: "/1k", requestsPerSecond: idleConnections / 2 },
  },
  ...[
    { name: "grpc-1", title: "1 connection, one call at a time", connections: 1, streams: 1 },
    { name: "grpc-64", title: "4 connections, 16 calls at a time on each", connections: 4, streams: 16 },
  ].map(({ name, title, connections, streams }) => ({
    name,
    title: `unary gRPC, 128 bytes up and 1 KiB down, HTTP/2 at the edges, closed loop, ${title}`,
    isQuick: streams > 1,
    kind: "saturation" as const,
    load: { connections, streams, path: "/bench.Echo/Unary" as const, bodyBytes: 128 },
  })),
];

/** The scenarios that a run measures: all of the effort, or those with this in their name. */
export function chooseScenarios(effort: Effort["name"], only: string): Scenario[] {
  if (only !== "") return scenarios.filter(({ name }) => name.includes(only));
  return scenarios.filter(({ isQuick }) => isQuick || effort !== "quick");
}

/** What the client and the application speak. */
export type Edges = "http1" | "grpc";

/** What they speak in a scenario. */
export function edgesOf({ load }: Scenario): Edges {
  return load?.streams === undefined ? "http1" : "grpc";
}

/** How often a scenario is measured. */
export function roundsOf({ kind }: Scenario, effort: Effort): number {
  return kind === "memory" ? memoryRounds : effort.rounds;
}

/** The load of a scenario with its times. */
export function loadOf({ load, kind }: Scenario, effort: Effort): Load | undefined {
  if (load === undefined) return undefined;
  if (kind === "memory") return { ...load, seconds: memorySeconds, warmupSeconds: 0 };
  const seconds = kind === "saturation" ? effort.closedSeconds : effort.openSeconds;
  return { ...load, seconds, warmupSeconds: effort.warmupSeconds };
}
