import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../src/cli/free-port.ts";
import {
  type KnownDomain,
  type MeshDirectory,
  meshDirectory,
  requireKnownDomain,
} from "../../src/cli/mesh-directory.ts";
import { temporaryFolder } from "../contracts/temporary-folder.ts";
import { type MarkedProcess, processesMarked } from "./marked-processes.ts";
import { RestartAlways } from "./restart-always.ts";
import { startTroth, statusOf, troth } from "./running-mesh.ts";

const readyMillisMax = 90_000;
const servingMillisMax = 60_000;
const pollMillis = 200;
const appFile = join(import.meta.dirname, "storm-app.ts");

/** What a unit of a storm's mesh is. */
export type UnitName = "mesh" | "client" | "front-1" | "front-2" | "back-1" | "back-2";

/** What a process does in its unit. */
export type ProcessRole = "control-plane" | "node-agent" | "up" | "sidecar" | "app" | "run";

/** One process of the mesh, by what it is for. */
export interface StormProcess {
  readonly unit: UnitName;
  readonly role: ProcessRole;
}

/**
 * A mesh as it is run for good: `troth up`, and each instance of a service under a `troth run` of its own, all of them
 * started again whenever they end. The client calls the front, of which there are two, and the front the back, of
 * which there are two.
 */
export interface StormMesh extends AsyncDisposable {
  readonly path: string;
  readonly directory: MeshDirectory;
  readonly domain: KnownDomain;
  /** host:port of the client's sidecar, for its own requests. */
  readonly outboundAddress: string;
  /** Where the applications write which requests have reached them. */
  readonly arrivals: string;
  /** The process id, or undefined while there is none. */
  readonly pidOf: (process: StormProcess) => number | undefined;
  /** Whether a unit holds any of these processes still. */
  readonly holds: (unit: UnitName, pids: ReadonlySet<number>) => boolean;
  readonly pidsOf: (unit: UnitName) => ReadonlySet<number>;
}

/** Starts it, lets the client call the front and the front the back, and waits until everybody serves. */
export async function openStormMesh(): Promise<StormMesh> {
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await temporaryFolder());
  const directory = meshDirectory(path);
  const arrivals = join(path, "arrivals");
  const units = new Map<UnitName, RestartAlways>();
  const start = (unit: UnitName, args: readonly string[], env: Readonly<Record<string, string>>): void => {
    units.set(unit, stack.use(new RestartAlways(unit, () => startTroth(path, args, env))));
  };
  const listen = `127.0.0.1:${await freePort()}`;
  start("mesh", ["up", "--listen", listen], {});
  await units.get("mesh")?.command.untilLine(/^ready/, readyMillisMax);

  const outboundPort = await freePort();
  const run = (unit: UnitName, next: string, options: readonly string[] = []): void => {
    const service = `/storm/${unit.split("-")[0]}`;
    const app = [process.execPath, appFile];
    start(unit, ["run", "--service", service, ...options, "--", ...app], {
      STORM_NAME: unit,
      STORM_ARRIVALS: arrivals,
      STORM_NEXT: next,
    });
  };
  run("client", "", ["--outbound-port", String(outboundPort)]);
  run("front-1", "back.storm.mesh");
  run("back-1", "");
  await untilServing(path, 3);
  run("front-2", "back.storm.mesh");
  run("back-2", "");
  await untilServing(path, 5);
  for (const [from, to] of [
    ["/storm/client", "/storm/front"],
    ["/storm/front", "/storm/back"],
  ] as const) {
    const allowed = await troth(path, "allow", from, to);
    if (allowed.code !== 0) throw new Error(`troth allow: ${allowed.stderr}`);
  }
  const domain = await requireKnownDomain(directory);
  const processesOf = (unit: UnitName): MarkedProcess[] =>
    processesMarked(units.get(unit)?.command.mark ?? "none");
  const kept = stack.move();
  return {
    path,
    directory,
    domain,
    outboundAddress: `127.0.0.1:${outboundPort}`,
    arrivals,
    pidOf: ({ unit, role }) =>
      processesOf(unit).find((one) => roleOf(one, units.get(unit)?.command.pid) === role)?.pid,
    pidsOf: (unit) => new Set(processesOf(unit).map(({ pid }) => pid)),
    holds: (unit, pids) => processesOf(unit).some(({ pid }) => pids.has(pid)),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** That a request reached an application. */
export interface Arrival {
  readonly unit: UnitName;
  /** As `performance.now()` shows it here. */
  readonly atMillis: number;
}

/** Which applications saw each request, by its number. */
export function arrivalsIn(file: string): ReadonlyMap<number, readonly Arrival[]> {
  const found = new Map<number, Arrival[]>();
  for (const line of readFileSync(file, "utf8").split("\n")) {
    const [number = "", unit = "", time = ""] = line.split(" ");
    if (!isUnit(unit)) continue;
    const arrival = { unit, atMillis: Number(time) - performance.timeOrigin };
    const arrivals = found.get(Number(number));
    if (arrivals === undefined) found.set(Number(number), [arrival]);
    else arrivals.push(arrival);
  }
  return found;
}

const unitNames: ReadonlySet<string> = new Set(["mesh", "client", "front-1", "front-2", "back-1", "back-2"]);

function isUnit(text: string): text is UnitName {
  return unitNames.has(text);
}

function roleOf({ pid, command }: MarkedProcess, mainPid: number | undefined): ProcessRole | undefined {
  if (pid === mainPid) return command.includes("up") ? "up" : "run";
  if (command[1] === appFile) return "app";
  const [, , name] = command;
  return name === "control-plane" || name === "node-agent" || name === "sidecar" ? name : undefined;
}

async function untilServing(path: string, count: number): Promise<void> {
  const deadline = performance.now() + servingMillisMax;
  for (;;) {
    const { instances } = await statusOf(path);
    const serving = instances.filter(({ isServing }) => isServing).length;
    if (serving >= count) return;
    if (performance.now() > deadline) throw new Error(`${serving} of ${count} instances serve`);
    await sleep(pollMillis);
  }
}
