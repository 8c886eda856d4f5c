import { readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { bytesOf, textOf } from "../base/bytes.ts";
import { makeFolder, readFileIfPresent, writeFileAtomically } from "./atomic-file.ts";

const snapshotName = /^([0-9]{1,15})\.snapshot$/;

/** A snapshot's text (trust-log/snapshot.ts) and the size it was taken at. */
export interface KeptSnapshot {
  readonly size: number;
  readonly text: string;
}

/** Snapshots of a log in a folder. */
export interface SnapshotFiles {
  /** Keeps the snapshot of a size, in place of older ones. */
  readonly save: (snapshot: KeptSnapshot) => Promise<void>;
  /** The newest snapshot that was kept. */
  readonly load: () => Promise<KeptSnapshot | undefined>;
}

/** Opens a folder of snapshots, made where it is missing. */
export async function openSnapshotFiles(folder: string): Promise<SnapshotFiles> {
  await makeFolder(folder);
  return { save: (snapshot) => save(folder, snapshot), load: () => load(folder) };
}

async function save(folder: string, { size, text }: KeptSnapshot): Promise<void> {
  await writeFileAtomically(join(folder, `${size}.snapshot`), bytesOf(text), 0o600);
  for (const older of await sizesIn(folder))
    if (older < size) await unlink(join(folder, `${older}.snapshot`));
}

async function load(folder: string): Promise<KeptSnapshot | undefined> {
  const size = (await sizesIn(folder)).at(-1);
  if (size === undefined) return undefined;
  const bytes = await readFileIfPresent(join(folder, `${size}.snapshot`));
  const text = bytes === undefined ? undefined : textOf(bytes);
  return text === undefined ? undefined : { size, text };
}

async function sizesIn(folder: string): Promise<number[]> {
  const sizes = (await readdir(folder)).map((name) => Number(snapshotName.exec(name)?.[1]));
  return sizes.filter((size) => Number.isSafeInteger(size)).sort((left, right) => left - right);
}
