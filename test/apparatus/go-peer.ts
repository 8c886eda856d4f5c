import { execFile, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { repository } from "./running-mesh.ts";

const buildMillisMax = 480_000;

/** What this machine lacks to build the program in `test/peers/<name>`; undefined when nothing. */
export function missingForGoPeer(name: string): string | undefined {
  const { status, stdout } = spawnSync("go", ["env", "GOVERSION"], { encoding: "utf8" });
  if (status !== 0) return "it takes Go, and there is none";
  const wanted = /^go 1\.([0-9]+)/m.exec(readFileSync(join(folderOf(name), "go.mod"), "utf8"))?.[1];
  const present = /^go1\.([0-9]+)/.exec(stdout)?.[1];
  return Number(present) >= Number(wanted)
    ? undefined
    : `it takes Go 1.${wanted}, and here is ${stdout.trim()}`;
}

/** Builds the program in `test/peers/<name>` into a folder; its path. Versions are those of its go.sum. */
export async function buildGoPeer(name: string, folder: string): Promise<string> {
  const program = join(folder, name);
  await promisify(execFile)("go", ["build", "-mod=readonly", "-o", program, "."], {
    cwd: folderOf(name),
    timeout: buildMillisMax,
  });
  return program;
}

function folderOf(name: string): string {
  return join(repository, "test", "peers", name);
}
