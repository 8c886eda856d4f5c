import { createHash } from "node:crypto";
import { existsSync, lstatSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { dirname, join, resolve } from "node:path";
import { bytesOf, textOf } from "../base/bytes.ts";
import { canonicalJson, isJsonObject, parseCanonicalJson } from "../base/canonical-json.ts";
import { codeOf, messageOf } from "../base/mesh-error.ts";
import { makeFolder, readFileIfPresent, writeFileAtomically } from "../storage/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";

/** The longest path that every platform takes for a Unix socket. */
const socketPathBytesMax = 100;

/** The layout that this version reads and writes; a directory without a number has the first. */
const layoutNewest = 1;

/** Where a mesh lives on this machine. */
export interface MeshDirectory {
  readonly path: string;
  readonly operatorKeys: string;
  readonly controlPlaneKeys: string;
  readonly controlPlaneLog: string;
  readonly tiles: string;
  readonly proposals: string;
  /** What the control plane knows of vulnerabilities. */
  readonly vulnerabilities: string;
  readonly agent: string;
  readonly agentKeys: string;
  readonly agentSocket: string;
  /** Where workloads without a sidecar find the agent (SPIFFE Workload API). */
  readonly workloadSocket: string;
  readonly logs: string;
  /** Where each process says where its health and metrics are, as a Prometheus file_sd document. */
  readonly targets: string;
  readonly proxies: string;
}

/** What a client has to know of the mesh in order to recognise it. */
export interface KnownDomain {
  readonly trustDomain: string;
  /** host:port of the control plane. */
  readonly address: string;
  /** Leaf hash of the trust log's first entry, base64. */
  readonly genesis: string;
  readonly logKey: string;
  /** Name of the operator key in this directory. */
  readonly operator: string;
}

/** The directory that commands work on unless told otherwise: `TROTH_DIR`, or `.troth` here. */
export function defaultMeshPath(): string {
  return process.env["TROTH_DIR"] ?? resolve(".troth");
}

/** The layout of a mesh directory; nothing is made yet. */
export function meshDirectory(path: string): MeshDirectory {
  const root = resolve(path);
  return {
    path: root,
    operatorKeys: join(root, "operator", "keys"),
    controlPlaneKeys: join(root, "control-plane", "keys"),
    controlPlaneLog: join(root, "control-plane", "log"),
    tiles: join(root, "control-plane", "tiles"),
    proposals: join(root, "control-plane", "proposals"),
    vulnerabilities: join(root, "control-plane", "vulnerabilities.json"),
    agent: join(root, "agent"),
    agentKeys: join(root, "agent", "keys"),
    agentSocket: socketPath(root),
    workloadSocket: join(dirname(socketPath(root)), "workload.sock"),
    logs: join(root, "logs"),
    targets: join(root, "run", "targets"),
    proxies: join(root, "proxies"),
  };
}

/** Makes the folders that must be closed to other users before anything is put into them. */
export async function makeMeshDirectory(directory: MeshDirectory): Promise<void> {
  for (const folder of [
    directory.path,
    directory.agent,
    directory.logs,
    directory.proxies,
    join(directory.agentSocket, ".."),
  ])
    await makeFolderOrExplain(folder);
  requireOwnFolder(join(directory.agentSocket, ".."));
}

/** In the temporary directory anybody can have made the folder first, and would own the socket that sidecars trust. */
function requireOwnFolder(folder: string): void {
  const found = lstatSync(folder);
  const isOwn = found.isDirectory() && found.uid === userInfo().uid;
  if (isOwn && (found.mode & 0o022) === 0) return;
  throw new CliError(
    exitCode.failed,
    `${folder}, where the agent's socket goes, ${isOwn ? "may be written by others" : "is another user's or no folder"}: remove it, or name a directory with a shorter path with --dir or TROTH_DIR`,
  );
}

async function makeFolderOrExplain(folder: string): Promise<void> {
  try {
    await makeFolder(folder);
  } catch (cause) {
    throw new CliError(exitCode.failed, `cannot make the folder ${folder}: ${whyNot(cause)}`);
  }
}

function whyNot(cause: unknown): string {
  switch (codeOf(cause)) {
    case "EEXIST":
    case "ENOTDIR":
      return "a file stands in its place; move it away, or name another directory with --dir or TROTH_DIR";
    case "EACCES":
    case "EPERM":
      return "this user may not write there; name another directory with --dir or TROTH_DIR";
    case "ENOENT":
      return "no folder can be made there; name another directory with --dir or TROTH_DIR";
    case "EROFS":
      return "the file system is read-only; name another directory with --dir or TROTH_DIR";
    case "ENOSPC":
      return "the file system is full; free some room, or name another directory with --dir or TROTH_DIR";
    default:
      return messageOf(cause);
  }
}

/** What is known of the mesh in this directory; undefined when there is none. */
export async function readKnownDomain(directory: MeshDirectory): Promise<KnownDomain | undefined> {
  const path = domainFile(directory);
  const bytes = await readFileIfPresent(path);
  if (bytes === undefined) return undefined;
  const parsed = parseCanonicalJson((textOf(bytes) ?? "").trimEnd());
  const value = parsed.ok && isJsonObject(parsed.value) ? parsed.value : {};
  const { trustDomain, address, genesis, logKey, operator, layout = 1 } = value;
  if (typeof layout === "number" && layout > layoutNewest)
    throw new CliError(
      exitCode.failed,
      `${directory.path} was made by a newer Troth (layout ${layout}; this one knows ${layoutNewest}): use that version, or another directory with --dir`,
    );
  const isComplete =
    typeof trustDomain === "string" &&
    typeof address === "string" &&
    typeof genesis === "string" &&
    typeof logKey === "string" &&
    typeof operator === "string";
  if (!isComplete)
    throw new CliError(
      exitCode.unreadable,
      `${path} is damaged: restore it from a backup, or stop the mesh, remove the file and start again (troth up): it is written anew from the log and the keys`,
    );
  return { trustDomain, address, genesis, logKey, operator };
}

/** As {@link readKnownDomain}, but a directory without a mesh is an error that says what to do. */
export async function requireKnownDomain(directory: MeshDirectory): Promise<KnownDomain> {
  const known = await readKnownDomain(directory);
  if (known !== undefined) return known;
  const hint = existsSync(directory.path) ? "" : " (there is no such directory)";
  throw new CliError(
    exitCode.notFound,
    `no mesh in ${directory.path}${hint}; start one with "troth up", or name its directory with --dir or TROTH_DIR`,
  );
}

/** Remembers the mesh. */
export async function writeKnownDomain(directory: MeshDirectory, domain: KnownDomain): Promise<void> {
  await writeFileAtomically(domainFile(directory), bytesOf(`${canonicalJson({ ...domain })}\n`), 0o600);
}

function domainFile({ path }: MeshDirectory): string {
  return join(path, "domain.json");
}

/** Inside the directory where that is short enough; otherwise in a folder of this user's under the temporary one. */
function socketPath(root: string): string {
  const inside = join(root, "run", "agent.sock");
  if (Buffer.byteLength(inside) <= socketPathBytesMax) return inside;
  const name = createHash("sha256").update(root).digest("hex").slice(0, 16);
  return join(tmpdir(), `troth-${userInfo().uid}-${name}`, "agent.sock");
}
