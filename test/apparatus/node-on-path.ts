import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { temporaryFolder } from "../contracts/temporary-folder.ts";
import { plainEnvironment, runCommand } from "./running-command.ts";

const versionMillisMax = 10_000;
const installMillisMax = 120_000;

/** An environment in which `node` is a certain version, as on another machine. */
export interface NodeOnPath extends AsyncDisposable {
  readonly version: string;
  readonly env: Readonly<Record<string, string>>;
}

/** What this machine itself has, without what a checkout or npm put on the path. */
export async function systemNode(): Promise<NodeOnPath> {
  return nodeIn(systemPath(), () => Promise.resolve());
}

/** A version from the package registry, in a folder of its own, in front of what this machine has. */
export async function packagedNode(version: string): Promise<NodeOnPath> {
  const name = `node-${process.platform}-${process.arch}`;
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const install = ["install", "--prefix", folder.path, "--ignore-scripts", "--no-audit", "--no-fund"];
  const { code, stderr } = await runCommand("npm", [...install, `${name}@${version}`], {
    env: { PATH: systemPath() },
    timeoutMillis: installMillisMax,
  });
  const bin = join(folder.path, "node_modules", name, "bin");
  if (code !== 0 || !existsSync(join(bin, "node"))) throw new Error(stderr.trim().slice(-300));
  const kept = stack.move();
  return await nodeIn(`${bin}${delimiter}${systemPath()}`, () => kept.disposeAsync());
}

async function nodeIn(path: string, close: () => Promise<void>): Promise<NodeOnPath> {
  const env = { PATH: path };
  const { code, stdout } = await runCommand("node", ["--version"], { env, timeoutMillis: versionMillisMax });
  return { version: code === 0 ? stdout.trim() : "none", env, [Symbol.asyncDispose]: close };
}

function systemPath(): string {
  const folders = (plainEnvironment()["PATH"] ?? "").split(delimiter);
  return folders.filter((folder) => !folder.includes("node_modules")).join(delimiter);
}
