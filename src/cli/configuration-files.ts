import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "../base/mesh-error.ts";
import {
  fileBytesMax,
  formatProblem,
  type Problem,
  type ReadManifests,
  readManifests,
  type SourceText,
  tcpRuleProblems,
} from "../configuration/index.ts";
import { isTcpService, type TrustState } from "../trust-log/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import { talk } from "./output.ts";

const filesMax = 256;

/** What was read, and from how many files. */
export interface Configuration extends Pick<ReadManifests, "manifests" | "problemAt"> {
  readonly files: number;
}

/**
 * Reads all objects of files, of the YAML and JSON files of folders, and of standard input (`-`). Where anything is
 * wrong, all problems go to standard error, one a line, and a CliError with exit code 65 is thrown.
 */
export async function readConfiguration(paths: readonly string[]): Promise<Configuration> {
  const files = (await Promise.all(paths.map(filesOf))).flat();
  if (files.length > filesMax)
    throw new CliError(exitCode.unreadable, `${files.length} files at once; at most ${filesMax}`);
  if (files.filter((file) => file === "-").length > 1)
    throw new CliError(exitCode.usage, "standard input (-) can be read once");
  const sources: SourceText[] = [];
  for (const file of new Set(files)) sources.push(await readSource(file));
  const { manifests, problems, ignoredStatuses, problemAt } = readManifests(sources);
  requireNone(problems);
  if (manifests.length === 0)
    throw new CliError(
      exitCode.unreadable,
      `no object in ${paths.join(", ")}; see docs/guides/configuration.md`,
    );
  if (ignoredStatuses > 0)
    talk(
      `note: ignored the status of ${ignoredStatuses} objects; it is what the mesh says, not what it is told`,
    );
  return { manifests, files: sources.length, problemAt };
}

/**
 * Throws, as {@link readConfiguration} does, where a rule has methods or paths and is for a service that will be called
 * over TCP: as the files say, or else as the log does, where there is one.
 */
export function requireRulesForTcp(configuration: Configuration, state?: Pick<TrustState, "traffic">): void {
  const isTcpNow = (service: string): boolean => state !== undefined && isTcpService(state, service);
  requireNone(tcpRuleProblems(configuration, isTcpNow));
}

function requireNone(problems: readonly Problem[]): void {
  if (problems.length === 0) return;
  for (const problem of problems) process.stderr.write(`${formatProblem(problem)}\n`);
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  throw new CliError(exitCode.unreadable, `${count}; nothing was changed`);
}

async function filesOf(path: string): Promise<string[]> {
  if (path === "-") return [path];
  const found = await stat(path).catch((error: unknown) => unreadable(path, error));
  if (!found.isDirectory()) return [path];
  const names = await readdir(path).catch((error: unknown) => unreadable(path, error));
  const files = names.filter((name) => /\.(ya?ml|json)$/.test(name)).sort();
  if (files.length === 0)
    throw new CliError(
      exitCode.notFound,
      `no .yaml, .yml or .json file in ${path}; folders in it are not looked into`,
    );
  return files.map((name) => join(path, name));
}

/** Reads no more than one byte over the limit, so that a huge file or an endless pipe is refused and not held. */
async function readSource(path: string): Promise<SourceText> {
  const isInput = path === "-";
  const name = isInput ? "standard input" : path;
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    const stream = isInput ? process.stdin : (await open(path)).createReadStream();
    for await (const chunk of stream) {
      const bytes = Buffer.from(chunk);
      chunks.push(bytes);
      length += bytes.byteLength;
      if (length > fileBytesMax) break;
    }
  } catch (error) {
    return unreadable(name, error);
  }
  return { name, bytes: new Uint8Array(Buffer.concat(chunks)) };
}

function unreadable(path: string, cause: unknown): never {
  const code = codeOf(cause);
  if (code === "ENOENT") throw new CliError(exitCode.notFound, `no file ${path}`);
  throw new CliError(exitCode.unreadable, `cannot read ${path}`, { cause });
}
