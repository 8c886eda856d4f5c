import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Log } from "../base/log.ts";
import { messageOf } from "../base/mesh-error.ts";
import { writeFileAtomically } from "../storage/index.ts";
import { entryBundle, newEntryBundles, newHashTiles, tileWidth } from "../trust-log/index.ts";
import type { LogWriter } from "./log-writer.ts";

const publishIntervalMillis = 1_000;

/**
 * Keeps `folder` a static copy of the log in the form that any C2SP tlog-tiles client reads: tiles and entry bundles
 * first, then the checkpoint that needs them. It follows the log by up to a second and costs appends nothing.
 */
export function publishTiles(folder: string, writer: LogWriter, log: Log): AsyncDisposable {
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

async function writeTiles(folder: string, writer: LogWriter, from: number, to: number): Promise<void> {
  for (const { path, bytes } of newHashTiles(writer.tree, from, to)) await writeTile(folder, path, bytes);
  for (const bundle of newEntryBundles(from, to)) {
    const entries: Uint8Array[] = [];
    for await (const entry of writer.read(bundle.from, bundle.to)) entries.push(entry);
    await writeTile(folder, bundle.path, entryBundle(entries));
  }
  // A full tile stands for its partial ones, which nobody needs from then on.
  for (let index = Math.floor(from / tileWidth); (index + 1) * tileWidth <= to; index += 1)
    for (const { path } of [
      ...newEntryBundles(index * tileWidth, (index + 1) * tileWidth),
      ...newHashTiles(writer.tree, index * tileWidth, (index + 1) * tileWidth).slice(0, 1),
    ])
      await rm(join(folder, `${path}.p`), { recursive: true, force: true });
}

async function writeTile(folder: string, path: string, bytes: Uint8Array): Promise<void> {
  const file = join(folder, path);
  await mkdir(dirname(file), { recursive: true });
  // A torn tile is written again: publishing starts from 0 in every run, and the checkpoint comes after it.
  await writeFile(file, bytes);
}
