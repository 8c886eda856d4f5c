import { execFile, spawnSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { repository } from "./running-mesh.ts";

const installMillisMax = 240_000;

/** What this machine lacks to run the programs in `test/peers/<name>`; undefined when nothing. */
export function missingForPythonPeer(): string | undefined {
  const { status } = spawnSync("python3", ["-m", "pip", "--version"], { encoding: "utf8" });
  return status === 0 ? undefined : "it takes Python 3 with pip (Debian: python3-pip)";
}

/** Programs of other people's packages, and how they are run. */
export interface PythonPeer {
  /** What runs a script of the peer's folder. */
  readonly command: (script: string, ...args: readonly string[]) => readonly string[];
}

/** Installs what `test/peers/<name>/requirements.txt` names, in those versions, into a folder and nowhere else. */
export async function installPythonPeer(name: string, folder: string): Promise<PythonPeer> {
  const home = join(repository, "test", "peers", name);
  const target = join(folder, name);
  const args = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", target];
  await promisify(execFile)("python3", [...args, "-r", join(home, "requirements.txt")], {
    timeout: installMillisMax,
  });
  return {
    command: (script, ...rest) => [
      "env",
      `PYTHONPATH=${target}`,
      "PYTHONDONTWRITEBYTECODE=1",
      "python3",
      "-W",
      "ignore",
      join(home, script),
      ...rest,
    ],
  };
}
