import { readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { bytesOf, textOf } from "../base/bytes.ts";
import {
  makeFolder,
  openFileJournal,
  openHead,
  openWriterLock,
  readFileIfPresent,
  writeFileAtomically,
} from "../storage/index.ts";
import type { KeptSnapshot, LogStorage } from "./log-storage.ts";

const snapshotName = /^([0-9]{1,15})\.snapshot$/;

/** The files of a trust log: `segments/`, `head.json`, `snapshots/`, `writer-lock/`; one writer at a time. */
export async function openLogFiles(folder: string): Promise<LogStorage & AsyncDisposable> {
  await using opened = new AsyncDisposableStack();
  const lock = opened.use(await openWriterLock(folder));
  const head = await openHead(folder, lock);
  const journal = opened.use(
    await openFileJournal(join(folder, "segments"), lock, { durableSizeMin: head.current?.size ?? 0 }),
  );
  const snapshots = join(folder, "snapshots");
  await makeFolder(snapshots);
  const files = opened.move();
  return {
    journal,
    head,
    saveSnapshot: (snapshot) => saveSnapshot(snapshots, snapshot),
    loadSnapshot: () => loadSnapshot(snapshots),
    [Symbol.asyncDispose]: () => files.disposeAsync(),
  };
}

async function saveSnapshot(folder: string, { size, text }: KeptSnapshot): Promise<void> {
  await writeFileAtomically(join(folder, `${size}.snapshot`), bytesOf(text), 0o600);
  for (const older of await sizesIn(folder))
    if (older < size) await unlink(join(folder, `${older}.snapshot`));
}

async function loadSnapshot(folder: string): Promise<KeptSnapshot | undefined> {
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
