import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { sameBytes } from "../base/bytes.ts";
import type { Log } from "../base/log.ts";
import { messageOf } from "../base/mesh-error.ts";
import { readFileIfPresent, writeFileAtomically } from "../storage/index.ts";
import { entryBundle, newEntryBundles, newHashTiles } from "../trust-log/index.ts";
import type { LogWriter } from "./log-writer.ts";

const publishIntervalMillis = 1_000;

/** What publishing takes of a log's writer. */
export type PublishedLog = Pick<LogWriter, "newest" | "tree" | "read">;

/**
 * Keeps `folder` a static copy of the log in the form that any C2SP tlog-tiles client reads: tiles and entry bundles
 * first, then the checkpoint that needs them. It follows the log by up to a second and costs appends nothing.
 */
export function publishTiles(folder: string, writer: PublishedLog, log: Log): AsyncDisposable {
  let published = 0;
  let running: Promise<void> | undefined;
  const publish = async (): Promise<void> => {
    const { newest } = writer;
    if (newest === undefined || newest.size === published) return;
    try {
      await writeTiles(folder, writer, published, newest.size);
      await writeFileAtomically(join(folder, "checkpoint"), newest.checkpoint, 0o644);
      published = newest.size;
    } catch (error) {
      log.error("tiles not published", { error: messageOf(error) });
    }
  };
  const start = (): Promise<void> =>
    (running ??= publish().finally(() => {
      running = undefined;
    }));
  const timer = setInterval(() => void start(), publishIntervalMillis);
  return {
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await running;
      await publish();
    },
  };
}

async function writeTiles(folder: string, writer: PublishedLog, from: number, to: number): Promise<void> {
  for (const { path, bytes } of newHashTiles(writer.tree, from, to)) await writeTile(folder, path, bytes);
  for (const bundle of newEntryBundles(from, to)) {
    const entries: Uint8Array[] = [];
    for await (const entry of writer.read(bundle.from, bundle.to)) entries.push(entry);
    await writeTile(folder, bundle.path, entryBundle(entries));
  }
}

async function writeTile(folder: string, path: string, bytes: Uint8Array): Promise<void> {
  const file = join(folder, path);
  const present = await readFileIfPresent(file);
  if (present === undefined || !sameBytes(present, bytes)) {
    await mkdir(dirname(file), { recursive: true });
    // Readers see all of a tile or none. Not synced: every run compares all tiles with the log and mends them.
    await writeFile(`${file}.tmp`, bytes);
    await rename(`${file}.tmp`, file);
  }
  // A full tile stands for its partial ones, which nobody needs from then on.
  if (!isPartial(path)) await rm(`${file}.p`, { recursive: true, force: true });
}

function isPartial(path: string): boolean {
  return path.includes(".p/");
}
