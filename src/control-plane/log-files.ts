import { join } from "node:path";
import { openFileJournal, openHead, openSnapshotFiles, openWriterLock } from "../storage/index.ts";
import type { LogStorage } from "./log-storage.ts";

/** The files of a trust log: `segments/`, `head.json`, `snapshots/`, `writer-lock/`; one writer at a time. */
export async function openLogFiles(folder: string): Promise<LogStorage & AsyncDisposable> {
  await using opened = new AsyncDisposableStack();
  const lock = opened.use(await openWriterLock(folder));
  const head = await openHead(folder, lock);
  const journal = opened.use(
    await openFileJournal(join(folder, "segments"), lock, { durableSizeMin: head.current?.size ?? 0 }),
  );
  const snapshots = await openSnapshotFiles(join(folder, "snapshots"));
  const files = opened.move();
  return {
    journal,
    head,
    saveSnapshot: snapshots.save,
    loadSnapshot: snapshots.load,
    [Symbol.asyncDispose]: () => files.disposeAsync(),
  };
}
