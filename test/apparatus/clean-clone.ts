import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type MeshDirectory, meshDirectory, requireKnownDomain } from "../../src/cli/mesh-directory.ts";
import { temporaryFolder } from "../contracts/temporary-folder.ts";
import { untilGone } from "./marked-processes.ts";
import { type NodeOnPath, systemNode } from "./node-on-path.ts";
import { type Ended, RunningCommand, runCommand } from "./running-command.ts";
import { type MeshStatus, parseStatus, repository } from "./running-mesh.ts";
import { Shared } from "./shared-apparatus.ts";

const cloneMillisMax = 60_000;
const firstReadyMillisMax = 240_000;
const readyMillisMax = 60_000;
const commandMillisMax = 60_000;
const stopMillisMax = 20_000;

/** A clone of this repository's HEAD; what is not committed is not in it. */
export interface CleanClone extends AsyncDisposable {
  readonly path: string;
  readonly commit: string;
  readonly node: NodeOnPath;
  /** Where `npm start` keeps its mesh. */
  readonly directory: MeshDirectory;
  readonly npmStart: () => RunningCommand;
  /** Runs `bin/troth` there to its end. */
  readonly troth: (...args: readonly string[]) => Promise<Ended>;
  readonly startTroth: (...args: readonly string[]) => RunningCommand;
}

/** Clones HEAD into a temporary folder, to be used with a certain Node.js; throws where this is no repository. */
export async function openCleanClone(node: NodeOnPath): Promise<CleanClone> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const path = join(folder.path, "troth");
  const options = { timeoutMillis: cloneMillisMax };
  const cloned = await runCommand("git", ["clone", "--quiet", "--no-hardlinks", repository, path], options);
  if (cloned.code !== 0) throw new Error(`git clone: ${cloned.stderr.trim()}`);
  const commit = await runCommand("git", ["-C", path, "rev-parse", "--short", "HEAD"], options);
  const { env } = node;
  const kept = stack.move();
  return {
    path,
    commit: commit.stdout.trim(),
    node,
    directory: meshDirectory(join(path, ".troth")),
    npmStart: () => new RunningCommand("npm", ["start"], { cwd: path, env, ownGroup: true }),
    troth: (...args) =>
      runCommand(join(path, "bin", "troth"), args, { cwd: path, env, timeoutMillis: commandMillisMax }),
    startTroth: (...args) => new RunningCommand(join(path, "bin", "troth"), args, { cwd: path, env }),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** One `npm start` of a clone, observed from outside while it ran. */
export interface ObservedStart {
  readonly readyLine: string;
  /** From the command to the line. */
  readonly millis: number;
  /** The part of it before Troth itself began: installing. */
  readonly preparationMillis: number;
  readonly adminAddress: string;
  readonly genesis: string;
  /** What `bin/troth status -o json`, another process, said. */
  readonly status: MeshStatus;
}

const reportMillisMax = 2_500;

/** Waits until a start is ready, and looks at it. */
export async function observeStart(
  clone: CleanClone,
  command: RunningCommand,
  timeoutMillis: number = readyMillisMax,
): Promise<ObservedStart> {
  const readyLine = await command.untilLine(/^ready/, timeoutMillis);
  const { millis } = command;
  const own = Number(/first request after ([0-9.]+) s/.exec(readyLine)?.[1] ?? 0) * 1000;
  // Proxies report what they have counted once a second, through the agent.
  await sleep(reportMillisMax);
  const status = await clone.troth("status", "-o", "json");
  if (status.code !== 0)
    throw new Error(`bin/troth status ended with ${status.code}: ${status.stderr.trim()}`);
  return {
    readyLine,
    millis,
    preparationMillis: millis - own,
    adminAddress: /^ready: admin ([^ ,]+),/.exec(readyLine)?.[1] ?? "",
    genesis: (await requireKnownDomain(clone.directory)).genesis,
    status: parseStatus(status.stdout),
  };
}

/** A clone whose first `npm start` was observed and stopped again. */
export interface PreparedClone extends CleanClone {
  readonly firstStart: ObservedStart;
}

/** Clones, starts for the first time, and stops. */
export async function openPreparedClone(node: NodeOnPath): Promise<PreparedClone> {
  await using stack = new AsyncDisposableStack();
  stack.use(node);
  const clone = stack.use(await openCleanClone(node));
  await using command = clone.npmStart();
  const firstStart = await observeStart(clone, command, firstReadyMillisMax);
  command.kill("SIGTERM");
  await command.ended(stopMillisMax);
  await untilGone(command.mark, stopMillisMax);
  const kept = stack.move();
  return { ...clone, firstStart, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** One for all claims about starting and stopping, on this machine's own Node.js. */
export const preparedClone: Shared<PreparedClone> = new Shared(async () =>
  openPreparedClone(await systemNode()),
);
