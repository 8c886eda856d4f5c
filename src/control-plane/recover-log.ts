import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { base64Of, sameBytes } from "../base/bytes.ts";
import type { Log } from "../base/log.ts";
import { codeOf } from "../base/mesh-error.ts";
import { fail, ok, type Result } from "../base/result.ts";
import {
  makeFolder,
  openFileJournal,
  openHead,
  openWriterLock,
  readJournal,
  type WriterLock,
} from "../storage/index.ts";
import {
  type EntryRefusal,
  type FoldStop,
  foldEntry,
  leafHash,
  MerkleTree,
  type NoteSigner,
  signCheckpoint,
  TrustState,
} from "../trust-log/index.ts";
import { isFolder, type LogCopy } from "./log-copy.ts";
import { publishTiles } from "./publish-tiles.ts";

/** What is written at once. */
const batchBytesMax = 1024 * 1024;

/** Why a log was not restored from a copy. Nothing was changed then. */
export type RestoreRefusal = "incomplete-copy" | "other-log" | "shorter-copy" | "forked";

/** What restoring did. */
export interface RestoredLog {
  /** How many of the log's entries were readable on disk before, and how many are there now. */
  readonly before: number;
  readonly size: number;
}

/**
 * Brings a log whose disk went back, or was damaged, up to a copy that went further (design section 1). Nothing has to
 * be decided for that and nothing is lost: the copy's tree is signed by the log's key, begins with the same entry, and
 * holds everything that the disk has, entry for entry, up to what was signed; an unsigned rest was never acknowledged.
 * The folder's old segments stay beside the new ones. Throws `ERR_STORAGE_LOCKED` while a control plane runs.
 */
export async function restoreLog(
  folder: string,
  genesis: string,
  copy: LogCopy,
): Promise<Result<RestoredLog, RestoreRefusal>> {
  await using lock = await openWriterLock(folder);
  const head = await openHead(folder, lock);
  const { checkpoint } = copy;
  const signedSize = head.current?.size ?? 0;
  if (signedSize > checkpoint.size)
    return fail("shorter-copy", `${checkpoint.size} entries; ${signedSize} were signed here`);

  const segments = join(folder, "segments");
  const tree = new MerkleTree();
  await using disk = readableEntries(segments);
  let before = 0;
  let own = (await disk.next()).value;
  for await (const entry of copy.entries()) {
    const index = tree.size;
    if (index === 0 && base64Of(leafHash(entry)) !== genesis)
      return fail("other-log", "the copy begins with another entry than this directory knows");
    tree.append(leafHash(entry));
    if (own?.index !== index) continue;
    if (sameBytes(own.bytes, entry)) before += 1;
    else if (index < signedSize)
      return fail("forked", `entry ${index} is another one in the copy, and both were signed`);
    own = (await disk.next()).value;
  }
  if (tree.size < checkpoint.size || !sameBytes(tree.root(), checkpoint.root))
    return fail(
      "incomplete-copy",
      `its ${tree.size} entries are not the ${checkpoint.size} that were signed`,
    );
  if (head.current !== undefined && !sameBytes(tree.root(signedSize), head.current.root))
    return fail("forked", `other trees of ${signedSize} entries were signed here and there`);

  const rebuilt = join(folder, "segments.recovering");
  await writeSegments(rebuilt, lock, copy.entries());
  await moveAside(segments, join(folder, `segments.before-term-${lock.term}`));
  await rename(rebuilt, segments);
  await head.advance({ size: checkpoint.size, root: checkpoint.root });
  return ok({ before, size: checkpoint.size });
}

/** Why a new generation was not begun. Nothing was changed then. */
export type GenerationRefusal = EntryRefusal | FoldStop | "unreadable-log" | "in-the-way";

/** What a log looked like after some of its entries. */
export interface LogAt {
  readonly state: TrustState;
  readonly tree: MerkleTree;
}

/** Folds the first `size` entries of the log in a folder, as they can be read; nothing is changed. */
export async function readLogAt(folder: string, size: number): Promise<Result<LogAt, "unreadable-log">> {
  const state = new TrustState();
  const tree = new MerkleTree();
  if (size > 0)
    for await (const { index, bytes } of readableEntries(join(folder, "segments"))) {
      if (index !== tree.size) break;
      const folded = foldEntry(state, tree, bytes);
      if (!folded.ok) return fail("unreadable-log", `entry ${index}: ${folded.reason}: ${folded.detail}`);
      tree.append(leafHash(bytes));
      if (tree.size === size) return ok({ state, tree });
    }
  return fail("unreadable-log", `there are ${tree.size} whole entries, fewer than ${size}`);
}

/** Where the log goes on, by which entry, and under which key. */
export interface NewGeneration {
  readonly size: number;
  readonly entry: Uint8Array;
  readonly logKey: NoteSigner;
}

/**
 * Begins a new generation: the log goes on after the first `size` entries with `entry`, a `log.recover` that must take
 * effect there. What was there before is moved to `aside`, tiles included, and stays. Throws `ERR_STORAGE_LOCKED` while
 * a control plane runs.
 */
export async function beginGeneration(
  folders: { readonly log: string; readonly tiles: string; readonly aside: string },
  { size, entry, logKey }: NewGeneration,
  log: Log,
): Promise<Result<number, GenerationRefusal>> {
  const { log: folder, tiles, aside } = folders;
  await using lock = await openWriterLock(folder);
  const at = await readLogAt(folder, size);
  if (!at.ok) return at;
  const { state, tree } = at.value;
  const folded = foldEntry(state, tree, entry);
  if (!folded.ok) return folded;
  if (!folded.value.hasEffect) return fail(folded.value.reason, folded.value.detail);
  tree.append(leafHash(entry));

  const rebuilt = join(folder, "segments.recovering");
  await writeSegments(rebuilt, lock, withLast(readableEntries(join(folder, "segments")), size, entry));
  try {
    await mkdir(aside, { mode: 0o700 });
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
    return fail("in-the-way", `${aside} is there already: an earlier attempt was interrupted; move it away`);
  }
  for (const name of ["snapshots", "head.json", "segments"])
    await moveAside(join(folder, name), join(aside, name));
  await moveAside(tiles, join(aside, "tiles"));
  await rename(rebuilt, join(folder, "segments"));
  const head = await openHead(folder, lock);
  await head.advance({ size: tree.size, root: tree.root() });
  await using journal = await openFileJournal(join(folder, "segments"), lock);
  const checkpoint = signCheckpoint({ size: tree.size, root: tree.root() }, logKey);
  const newest = { size: tree.size, checkpoint };
  const published = publishTiles(tiles, { newest, tree, read: (from, to) => journal.read(from, to) }, log);
  await published[Symbol.asyncDispose]();
  return ok(tree.size);
}

async function* withLast(
  entries: AsyncIterable<{ readonly bytes: Uint8Array }>,
  size: number,
  last: Uint8Array,
): AsyncGenerator<Uint8Array> {
  let count = 0;
  for await (const { bytes } of entries) {
    if (count === size) break;
    yield bytes;
    count += 1;
  }
  yield last;
}

/** What can be read of a journal, whatever else is wrong with it. */
async function* readableEntries(
  segments: string,
): AsyncGenerator<{ readonly index: number; readonly bytes: Uint8Array }, undefined> {
  if (await isFolder(segments))
    for await (const finding of readJournal(segments)) if ("bytes" in finding) yield finding;
  return undefined;
}

async function writeSegments(
  folder: string,
  lock: WriterLock,
  entries: AsyncIterable<Uint8Array>,
): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await using journal = await openFileJournal(folder, lock);
  let batch: Uint8Array[] = [];
  let bytes = 0;
  for await (const entry of entries) {
    batch.push(entry);
    bytes += entry.byteLength;
    if (bytes < batchBytesMax) continue;
    await journal.appendAll(batch);
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) await journal.appendAll(batch);
}

async function moveAside(path: string, aside: string): Promise<void> {
  try {
    await makeFolder(dirname(aside));
    await rename(path, aside);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
}
