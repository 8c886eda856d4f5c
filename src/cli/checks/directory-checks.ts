import { constants, type Stats } from "node:fs";
import { access, lstat, readdir, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { codeOf, messageOf } from "../../base/mesh-error.ts";
import { Procfs, UnixCallers } from "../../peer-process/index.ts";
import { openFileKeyStore } from "../../storage/index.ts";
import { verifyLogFiles } from "../commands/verify-log.ts";
import { exitCode } from "../exit-codes.ts";
import { type MeshDirectory, readKnownDomain } from "../mesh-directory.ts";
import { shellWord } from "../shell-word.ts";
import type { CheckReport, Finding } from "./check-report.ts";

const category = "directory";
/** Below this a mesh stops within hours; below the other it is about to. */
const freeBytesMin = 256 * 1024 * 1024;
const freeBytesUrgent = 2 * 1024 * 1024;
const mebibyte = 1024 * 1024;

/** What can be told from the files alone; false where nothing further can be. */
export async function checkDirectory(report: CheckReport, directory: MeshDirectory): Promise<boolean> {
  const isMesh = await report.run({ category, anchor: "mesh-directory", description: "holds a mesh" }, () =>
    meshFinding(directory),
  );
  await checkDiskSpace(report, directory.path);
  await report.run({ category, anchor: "key-modes", description: "keys are closed to other users" }, () =>
    keyModesFinding(directory),
  );
  await report.run(
    { category, anchor: "agent-socket", description: "the agent's socket is closed to other users" },
    () => agentSocketFinding(directory),
  );
  await report.run(
    {
      category,
      anchor: "callers-told",
      description: "it is told which process calls a sidecar, or the agent",
    },
    () => callersFinding(new Procfs(), new UnixCallers()),
  );
  if (!isMesh) return false;
  await report.run({ category, anchor: "keys-present", description: "the operator's key is there" }, () =>
    operatorKeyFinding(directory),
  );
  await report.run({ category, anchor: "log-verifies", description: "the trust log on disk verifies" }, () =>
    logFinding(directory),
  );
  return true;
}

/** Room on the file system of `path`, or of the folder nearest above it. */
export async function checkDiskSpace(report: CheckReport, path: string): Promise<void> {
  await report.run({ category, anchor: "disk-space", description: "has room to write" }, async () => {
    const { bavail, bsize } = await statfs(await nearestFolder(path));
    const freeBytes = bavail * bsize;
    if (freeBytes >= freeBytesMin) return undefined;
    return {
      error: `${(freeBytes / mebibyte).toFixed(1)} MiB are free on the file system of ${path}`,
      remedy: `free ${freeBytesMin / mebibyte} MiB there: remove ${join(path, "logs", "*.1")}, audit logs of ended instances below ${join(path, "proxies")}, or what else fills it; Troth then goes on by itself`,
      isWarning: freeBytes >= freeBytesUrgent,
    };
  });
}

/** The folder itself or, where it is yet to be made, the one above it that is there. */
export async function nearestFolder(path: string): Promise<string> {
  const isThere = await access(path, constants.F_OK).then(
    () => true,
    () => false,
  );
  return isThere || dirname(path) === path ? path : nearestFolder(dirname(path));
}

async function meshFinding(directory: MeshDirectory): Promise<Finding | undefined> {
  const up = `troth up --dir ${shellWord(directory.path)}`;
  try {
    if ((await readKnownDomain(directory)) !== undefined) return undefined;
  } catch (error) {
    if (error instanceof Error && "exitCode" in error && error.exitCode === exitCode.unreadable) {
      const file = shellWord(join(directory.path, "domain.json"));
      return {
        error: messageOf(error),
        remedy:
          "stop the mesh, remove the file and start again: it is written anew from the log and the keys",
        command: `rm ${file} && ${up}`,
      };
    }
    throw error;
  }
  return {
    error: `there is no mesh in ${directory.path}`,
    remedy: "start one there, or name its directory with --dir or TROTH_DIR",
    command: up,
  };
}

async function keyModesFinding(directory: MeshDirectory): Promise<Finding | undefined> {
  for (const folder of [directory.operatorKeys, directory.controlPlaneKeys, directory.agentKeys])
    for (const path of [folder, ...(await namesIn(folder)).map((name) => join(folder, name))]) {
      const stats = await lstatIfPresent(path);
      if (stats === undefined) continue;
      if (stats.uid !== process.geteuid?.())
        return {
          error: `${path} belongs to user ${stats.uid}`,
          remedy: "give it to the user that Troth runs as",
          command: `chown -R ${process.geteuid?.() ?? "$(id -u)"} ${shellWord(folder)}`,
        };
      if ((stats.mode & 0o077) !== 0)
        return {
          error: `${path} is open to others (mode ${(stats.mode & 0o777).toString(8)})`,
          remedy: "close it; replace the keys if anybody may have read them",
          command: `chmod -R go= ${shellWord(folder)}`,
        };
    }
  return undefined;
}

/** Who can connect to the socket may ask for the identity of any service of this node. */
async function agentSocketFinding({ agentSocket }: MeshDirectory): Promise<Finding | undefined> {
  const folder = dirname(agentSocket);
  const stats = await lstatIfPresent(folder);
  if (stats === undefined) return undefined;
  const own = process.geteuid?.();
  if (stats.uid !== own)
    return {
      error: `${folder} belongs to user ${stats.uid}, who can ask the agent for any identity of this node`,
      remedy: "give it to the user that Troth runs as",
      command: `chown ${own ?? "$(id -u)"} ${shellWord(folder)}`,
    };
  if ((stats.mode & 0o077) === 0) return undefined;
  return {
    error: `${folder} is open to others (mode ${(stats.mode & 0o777).toString(8)}), who can ask the agent for any identity of this node`,
    remedy: "close it, then start the agent again",
    command: `chmod go= ${shellWord(folder)}`,
  };
}

/** What this machine cannot do for isolation; the rest of it is enforced. */
export function callersFinding(
  procfs: Pick<Procfs, "tellsCallers">,
  unixCallers: Pick<UnixCallers, "tellsCallers">,
): Finding | undefined {
  if (procfs.tellsCallers && unixCallers.tellsCallers) return undefined;
  if (procfs.tellsCallers)
    return {
      error:
        "ss is not installed, which tells who calls at a Unix socket: programs get no identity over the SPIFFE Workload API there, and any process of the agent's user can ask the agent as another's instance",
      remedy: "install iproute2, then start the agent again",
      command: "apt-get install -y iproute2",
      isWarning: true,
    };
  return {
    error: `${process.platform} does not tell which process connects to a sidecar: every process of this machine can call in the name of a service that runs here`,
    remedy:
      "run services that must not trust their neighbours on Linux, or on machines of their own; docs/guides/isolation.md lists what holds where",
    isWarning: true,
  };
}

async function operatorKeyFinding(directory: MeshDirectory): Promise<Finding | undefined> {
  const key = join(directory.operatorKeys, "operator");
  const remedy = `restore ${key} from a backup of this directory: nobody can sign rules without it`;
  // Looked for first, since opening a key store makes its folder.
  if ((await lstatIfPresent(key)) === undefined) return { error: `${key} is not there`, remedy };
  const keyStore = await openFileKeyStore(directory.operatorKeys);
  const bytes = await keyStore.load("operator");
  return bytes === undefined || bytes.byteLength === 0 ? { error: `${key} is empty`, remedy } : undefined;
}

async function logFinding(directory: MeshDirectory): Promise<Finding | undefined> {
  const known = await readKnownDomain(directory);
  if (known === undefined) return undefined;
  const verdict = await verifyLogFiles({
    log: directory.controlPlaneLog,
    tiles: directory.tiles,
    genesis: known.genesis,
    logKey: known.logKey,
  });
  if (verdict.verified) return undefined;
  return {
    error: verdict.problems[0] ?? "not verified",
    remedy: `stop the mesh, keep a copy of ${directory.path}, and restore ${directory.controlPlaneLog} from the last good backup; if it is the published copy that differs, remove ${directory.tiles}: it is written anew. "troth log verify" lists everything`,
  };
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  }
}

async function lstatIfPresent(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
