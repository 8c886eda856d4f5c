import { constants } from "node:fs";
import { type FileHandle, open, readlink } from "node:fs/promises";
import type { CallerProcess } from "../../peer-process/index.ts";

const symlinksMax = 16;
const partsMax = 64;
/** Of Linux, the same for every processor that Node runs on: finds a file without opening it, whatever it is. */
const pathOnly = 0o10_000_000;

/**
 * The text of a regular file as a process has it, by its absolute path there. Symbolic links are followed as the process
 * would, so none of them leads out of its root, nor does a folder that is exchanged for one meanwhile. Undefined where
 * there is no such file, it is too long, or the process itself may not read it: what it does not have says nothing of it.
 */
export async function readInProcess(
  process: Pick<CallerProcess, "pid" | "uid" | "gid" | "groups">,
  path: string,
  bytesMax: number,
): Promise<string | undefined> {
  try {
    await using found = await find(`/proc/${process.pid}/root`, path);
    if (found === undefined || !(await mayRead(process, found))) return undefined;
    await using file = await open(inFolder(found), constants.O_RDONLY);
    const bytes = Buffer.alloc(bytesMax + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length, length);
      if (bytesRead === 0) return bytes.toString("latin1", 0, length);
      length += bytesRead;
      if (length > bytesMax) return undefined;
    }
  } catch {
    return undefined;
  }
}

/** Walks from `root` by descriptors, so that the kernel never follows a link of the process's for this one. */
async function find(root: string, path: string): Promise<FileHandle | undefined> {
  const parts = partsOf(path);
  const folders: FileHandle[] = [await open(root, pathOnly | constants.O_DIRECTORY)];
  let symlinks = 0;
  let steps = 0;
  try {
    for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
      steps += 1;
      const [here] = folders.slice(-1);
      if (here === undefined || steps > partsMax) return undefined;
      if (part === "..") {
        if (folders.length > 1) await folders.pop()?.close();
        continue;
      }
      const next = await open(inFolder(here, part), pathOnly | constants.O_NOFOLLOW);
      const stat = await next.stat();
      if (stat.isFile() && parts.length === 0) return next;
      if (stat.isDirectory()) {
        folders.push(next);
        continue;
      }
      await next.close();
      symlinks += 1;
      if (!stat.isSymbolicLink() || symlinks > symlinksMax) return undefined;
      const target = await readlink(inFolder(here, part));
      if (target.startsWith("/")) for (const folder of folders.splice(1)) await folder.close();
      parts.unshift(...partsOf(target));
    }
    return undefined;
  } finally {
    for (const folder of folders) await folder.close();
  }
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

function inFolder(folder: FileHandle, name?: string): string {
  return `/proc/self/fd/${folder.fd}${name === undefined ? "" : `/${name}`}`;
}

/** By the file's mode alone; the superuser reads everything. */
async function mayRead(
  { uid, gid, groups }: Pick<CallerProcess, "uid" | "gid" | "groups">,
  file: FileHandle,
): Promise<boolean> {
  const stat = await file.stat();
  if (uid === 0) return true;
  if (stat.uid === uid) return (stat.mode & constants.S_IRUSR) !== 0;
  const isInGroup = stat.gid === gid || groups.includes(stat.gid);
  return (stat.mode & (isInGroup ? constants.S_IRGRP : constants.S_IROTH)) !== 0;
}
