import { type FileHandle, link, mkdir, open, readFile, rename, rm, stat, unlink } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { codeOf } from "../base/mesh-error.ts";

/**
 * Replaces or creates a file so that a crash leaves the old content or the new, never a mixture, and the new once
 * this resolves. `mode` holds for the new file whatever the umask takes away. A crash may leave a `.tmp` file behind.
 */
export async function writeFileAtomically(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  const temporary = await writeTemporary(path, bytes, mode);
  await keepOrUnlink(temporary, rename(temporary, path));
  await syncFolder(dirname(path));
}

/**
 * Creates a file that is complete as soon as it is visible; false if one of that name is there already, which then
 * stays as it is. Of several processes that try at once, one gets true. Needs a file system with hard links.
 */
export async function createFileAtomically(path: string, bytes: Uint8Array, mode: number): Promise<boolean> {
  const temporary = await writeTemporary(path, bytes, mode);
  try {
    await link(temporary, path);
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  } finally {
    await unlink(temporary);
  }
  await syncFolder(dirname(path));
  return true;
}

/** Removes a file durably; does nothing where there is none. */
export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true });
  await syncFolder(dirname(path));
}

/** The content of a file, or undefined where there is none. */
export async function readFileIfPresent(path: string): Promise<Uint8Array | undefined> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Makes the names in a folder durable: what was created, renamed or removed there. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}

/** Makes a folder of mode 0700, and the folders above it, durably; leaves one that is there as it is. */
export async function makeFolder(path: string): Promise<void> {
  for (const made of await makeMissing(resolve(path))) await syncFolder(dirname(made));
}

/** The folders that it made. Node's own `recursive` never ends where a file system takes no folders, like `/proc`. */
async function makeMissing(path: string): Promise<string[]> {
  const above = (await isFolder(dirname(path))) ? [] : await makeMissing(dirname(path));
  try {
    await mkdir(path, { mode: 0o700 });
    return [...above, path];
  } catch (error) {
    // There before, or made by another process meanwhile.
    if (await isFolder(path)) return above;
    throw error;
  }
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? dirname(path) === path;
}

let temporaries = 0;

// O_EXCL and counting on gives a name of its own to every call of every process, without asking for randomness.
async function writeTemporary(path: string, bytes: Uint8Array, mode: number): Promise<string> {
  for (;;) {
    temporaries += 1;
    const temporary = `${path}.${process.pid}-${temporaries}.tmp`;
    const file = await openNew(temporary, mode);
    if (file === undefined) continue;
    await keepOrUnlink(temporary, fill(file, bytes, mode));
    return temporary;
  }
}

async function openNew(path: string, mode: number): Promise<FileHandle | undefined> {
  try {
    return await open(path, "wx", mode);
  } catch (error) {
    if (codeOf(error) === "EEXIST") return undefined;
    throw error;
  }
}

async function fill(file: FileHandle, bytes: Uint8Array, mode: number): Promise<void> {
  try {
    await file.chmod(mode);
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function keepOrUnlink(temporary: string, step: Promise<void>): Promise<void> {
  try {
    await step;
  } catch (error) {
    await unlink(temporary);
    throw error;
  }
}
