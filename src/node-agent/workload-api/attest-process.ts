import { readFile, stat } from "node:fs/promises";
import { fail, ok, type Result } from "../../base/result.ts";
import type { CallerProcess, LocalCaller, Procfs } from "../../peer-process/index.ts";
import type { ExecutableHashes } from "./executable-hashes.ts";

const passwordFile = "/etc/passwd";

/** Where the facts about a process come from. */
export interface AttestationSources {
  readonly procfs: Procfs;
  readonly hashes: ExecutableHashes;
  /** What a process is in a cluster, and in a container; nothing of what is not known. Neither throws. */
  readonly kubernetes?: (process: CallerProcess) => Promise<readonly string[]>;
  readonly containers?: (process: CallerProcess) => Promise<readonly string[]>;
}

/** What is asked of a process beside what costs nothing: only what some entry's selectors speak of. */
export interface WantedFacts {
  readonly sha256: boolean;
  readonly kubernetes: boolean;
  readonly containers: boolean;
}

/** Why nothing is said of a caller. */
export type AttestationRefusal = "other-process";

/**
 * The selectors of a caller, in SPIRE's words: those that all processes have which have the connection open. A number
 * that means another process by the time all was read says nothing of anybody.
 */
export async function attestCaller(
  caller: LocalCaller,
  wanted: WantedFacts,
  sources: AttestationSources,
): Promise<Result<ReadonlySet<string>, AttestationRefusal>> {
  const sets = await Promise.all(caller.processes.map((one) => selectorsOf(one, wanted, sources)));
  if (!isStillThere(caller, sources.procfs)) return fail("other-process", "the caller's process has ended");
  const [first = new Set<string>(), ...others] = sets;
  return ok(others.reduce((common, set) => common.intersection(set), first));
}

/** Whether a caller's processes are those that they were: the same starts, users, groups and programs. */
export function isStillThere({ processes }: LocalCaller, procfs: Procfs): boolean {
  return processes.every(({ pid, startedTicks, uid, gid, executable }) => {
    const owner = procfs.owner(pid);
    const isSame = owner?.uid === uid && owner.gid === gid && procfs.executable(pid) === executable;
    return isSame && procfs.stat(pid)?.startedTicks === startedTicks;
  });
}

async function selectorsOf(
  process: CallerProcess,
  wanted: WantedFacts,
  { hashes, kubernetes, containers }: AttestationSources,
): Promise<Set<string>> {
  const { pid, uid, gid, groups, executable } = process;
  const program = `/proc/${pid}/exe`;
  const [user, isPath, sha256, pod, container] = await Promise.all([
    userName(uid),
    executable === undefined ? false : isSameFile(executable, program),
    wanted.sha256 ? hashes.of(program) : undefined,
    wanted.kubernetes && kubernetes !== undefined ? kubernetes(process) : [],
    wanted.containers && containers !== undefined ? containers(process) : [],
  ]);
  return new Set([
    `unix:uid:${uid}`,
    `unix:gid:${gid}`,
    ...groups.map((group) => `unix:supplementary_gid:${group}`),
    ...(user === undefined ? [] : [`unix:user:${user}`]),
    ...(isPath ? [`unix:path:${executable}`] : []),
    ...(sha256 === undefined ? [] : [`unix:sha256:${sha256}`]),
    ...pod,
    ...container,
  ]);
}

/**
 * A process names its program as its own mount namespace does, and whoever may make one can have any path there; it
 * counts where this process finds the same file by it.
 */
async function isSameFile(path: string, program: string): Promise<boolean> {
  try {
    const [here, there] = await Promise.all([stat(path, { bigint: true }), stat(program, { bigint: true })]);
    return here.dev === there.dev && here.ino === there.ino;
  } catch {
    return false;
  }
}

/** The name that the machine's own list has for a user; directories elsewhere are not asked. */
async function userName(uid: number): Promise<string | undefined> {
  const text = await readFile(passwordFile, "utf8").catch(() => "");
  const line = text.split("\n").find((one) => one.split(":")[2] === String(uid));
  return line?.split(":")[0];
}
