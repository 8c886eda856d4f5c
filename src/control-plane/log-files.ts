import { join } from "node:path";
import { codeOf, MeshError, messageOf } from "../base/mesh-error.ts";
import { openFileJournal, openHead, openSnapshotFiles, openWriterLock } from "../storage/index.ts";
import type { LogStorage } from "./log-storage.ts";

/**
 * The files of a trust log: `segments/`, `head.json`, `snapshots/`, `writer-lock/`; one writer at a time. Throws
 * `ERR_STORAGE_DAMAGED`, with the file and the remedy, where the head or the entries are damaged; nothing is changed then.
 */
export async function openLogFiles(folder: string): Promise<LogStorage & AsyncDisposable> {
  try {
    return await openFiles(folder);
  } catch (error) {
    if (codeOf(error) !== "ERR_STORAGE_DAMAGED") throw error;
    const what = messageOf(error);
    throw new MeshError("ERR_STORAGE_DAMAGED", `${what}; ${remedy(folder, what)}`);
  }
}

function remedy(folder: string, what: string): string {
  const head = join(folder, "head.json");
  const first = what.startsWith(head) ? `remove ${head} and ` : "";
  return `restore ${folder} from a backup, or ${first}bring the log back from a copy: troth log recover --from FOLDER, with the agent folder of a node`;
}

async function openFiles(folder: string): Promise<LogStorage & AsyncDisposable> {
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
