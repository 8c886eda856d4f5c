import { execFile, spawnSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { repository } from "./running-mesh.ts";

const buildMillisMax = 480_000;

/** Whether this machine can build peers that are written in Go. */
export function isGoHere(): boolean {
  return spawnSync("go", ["version"]).status === 0;
}

/** Builds the program in `test/peers/<name>` into a folder; its path. Versions are those of its go.sum. */
export async function buildGoPeer(name: string, folder: string): Promise<string> {
  const program = join(folder, name);
  await promisify(execFile)("go", ["build", "-mod=readonly", "-o", program, "."], {
    cwd: join(repository, "test", "peers", name),
    timeout: buildMillisMax,
  });
  return program;
}
