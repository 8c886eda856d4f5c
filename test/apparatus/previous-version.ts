import { execFileSync } from "node:child_process";
import { readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "../contracts/temporary-folder.ts";
import { type Ended, RunningCommand, runCommand } from "./running-command.ts";
import { repository } from "./running-mesh.ts";

const cliMillisMax = 30_000;
const archiveBytesMax = 256 * 1024 * 1024;

/** `troth`, of this checkout or of the version before it. */
export interface TrothVersion {
  readonly name: "today's" | "previous";
  /** Runs it to its end. */
  readonly run: (dir: string, ...args: readonly string[]) => Promise<Ended>;
  /** Starts it, for commands that stay. */
  readonly start: (dir: string, ...args: readonly string[]) => RunningCommand;
}

/** `troth` of this checkout. */
export const today: TrothVersion = versionIn(repository, "today's");

/** `troth` of the version that test/peers/previous-version names, or how this machine can have it. */
export async function openPreviousVersion(stack: AsyncDisposableStack): Promise<TrothVersion | string> {
  const commit = readFileSync(join(repository, "test", "peers", "previous-version", "commit"), "utf8").trim();
  const archived = archiveOf(commit);
  if (archived === undefined)
    return `the previous version, ${commit}, is not in this clone: git fetch --depth=1 origin ${commit}`;
  const { path } = stack.use(await temporaryFolder());
  execFileSync("tar", ["-x", "-C", path], { input: archived });
  const lock = (root: string): string => readFileSync(join(root, "package-lock.json"), "utf8");
  if (lock(path) !== lock(repository))
    execFileSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], {
      cwd: path,
      stdio: "ignore",
    });
  else symlinkSync(join(repository, "node_modules"), join(path, "node_modules"));
  return versionIn(path, "previous");
}

function archiveOf(commit: string): Buffer | undefined {
  try {
    return execFileSync("git", ["archive", commit], {
      cwd: repository,
      maxBuffer: archiveBytesMax,
      stdio: ["ignore", "pipe", "ignore"],
    });
  } catch {
    return undefined;
  }
}

function versionIn(root: string, name: TrothVersion["name"]): TrothVersion {
  const argumentsOf = (dir: string, args: readonly string[]): string[] => [
    join(root, "src", "cli", "main.ts"),
    "--dir",
    dir,
    ...args,
  ];
  return {
    name,
    run: (dir, ...args) =>
      runCommand(process.execPath, argumentsOf(dir, args), { timeoutMillis: cliMillisMax }),
    start: (dir, ...args) => new RunningCommand(process.execPath, argumentsOf(dir, args)),
  };
}
