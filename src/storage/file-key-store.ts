import { constants, type Stats } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "../base/mesh-error.ts";
import { createFileAtomically, makeFolder, removeFile, writeFileAtomically } from "./atomic-file.ts";
import type { KeyStore } from "./key-store.ts";
import { assertKeyName, assertKeySize, keyBytesMax } from "./memory-key-store.ts";
import { onDisk, storageFault } from "./storage-fault.ts";

/**
 * Keys as files of mode 0600 in a folder of mode 0700, which is made if need be. Folder and file are checked at each
 * use: `ERR_STORAGE_KEY_EXPOSED`, with the command that repairs it, if anybody else can read or write them or owns
 * them.
 */
export async function openFileKeyStore(folder: string): Promise<KeyStore> {
  await onDisk(folder, () => makeFolder(folder));
  await assertFolderPrivate(folder);

  async function load(name: string): Promise<Uint8Array | undefined> {
    assertKeyName(name);
    await assertFolderPrivate(folder);
    return onDisk(`key ${name}`, () => readKey(join(folder, name), name));
  }

  async function assertStorable(name: string, key: Uint8Array): Promise<void> {
    assertKeyName(name);
    assertKeySize(name, key.byteLength);
    await assertFolderPrivate(folder);
  }

  return {
    load,
    async save(name, key) {
      await assertStorable(name, key);
      await onDisk(`key ${name}`, () => writeFileAtomically(join(folder, name), key, 0o600));
    },
    async remove(name) {
      assertKeyName(name);
      await assertFolderPrivate(folder);
      await onDisk(`key ${name}`, () => removeFile(join(folder, name)));
    },
    async loadOrCreate(name, create) {
      const present = await load(name);
      if (present !== undefined) return present;
      const made = new Uint8Array(await create());
      await assertStorable(name, made);
      const isMine = await onDisk(`key ${name}`, () => createFileAtomically(join(folder, name), made, 0o600));
      const stored = isMine ? made : await load(name);
      if (stored === undefined)
        throw storageFault("ERR_STORAGE_IO", `key ${name} vanished while it was made`);
      return stored;
    },
  };
}

async function readKey(path: string, name: string): Promise<Uint8Array | undefined> {
  try {
    // One open file is checked and read, so that it cannot be exchanged between the two.
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stats = await file.stat();
    assertPrivate(path, stats, "chmod 600");
    if (!stats.isFile()) throw storageFault("ERR_STORAGE_KEY_EXPOSED", `${path} is no file`);
    if (stats.size < 1 || stats.size > keyBytesMax)
      throw storageFault(
        "ERR_STORAGE_KEY_SIZE",
        `${path} is damaged, with ${stats.size} bytes instead of 1 to ${keyBytesMax}: restore it from a backup`,
      );
    const key = new Uint8Array(await file.readFile());
    assertKeySize(name, Math.min(key.byteLength, keyBytesMax));
    return key;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    if (codeOf(error) === "ELOOP")
      throw storageFault("ERR_STORAGE_KEY_EXPOSED", `${path} is a symbolic link`);
    throw error;
  }
}

async function assertFolderPrivate(folder: string): Promise<void> {
  await onDisk(folder, async () => {
    await using handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
    assertPrivate(folder, await handle.stat(), "chmod 700");
  });
}

function assertPrivate(path: string, stats: Stats, repair: string): void {
  const mode = stats.mode & 0o777;
  if (stats.uid !== process.geteuid?.())
    throw storageFault(
      "ERR_STORAGE_KEY_EXPOSED",
      `${path} belongs to user ${stats.uid}; chown it to the user Troth runs as`,
    );
  if ((mode & 0o077) !== 0)
    throw storageFault(
      "ERR_STORAGE_KEY_EXPOSED",
      `${path} is open to others (mode ${mode.toString(8)}): replace its keys if anybody may have read them, then ${repair} ${path}`,
    );
}
