import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { codeOf, MeshError } from "../base/mesh-error.ts";
import { readFileIfPresent, readJournal } from "../storage/index.ts";
import {
  type CheckedCheckpoint,
  checkCheckpoint,
  entriesOfBundle,
  entryBundlePath,
  type NoteVerifier,
  tileWidth,
} from "../trust-log/index.ts";

/** A copy of a trust log in files, as an agent keeps it or as it is published; its entries are not checked yet. */
export interface LogCopy {
  /** Where it was found. */
  readonly folder: string;
  readonly checkpoint: CheckedCheckpoint;
  /** The entries up to the checkpoint's size, or as many as can be read from the beginning on. */
  readonly entries: () => AsyncIterable<Uint8Array>;
}

/** Where in a folder that somebody names a copy may be: an agent's, a mesh directory's, a published one. */
const places = [".", "log", "agent/log", "tiles", "control-plane/tiles"];

/**
 * Finds the copy of a log in a folder: segments or tiles with a checkpoint beside them that the log's key signed. Throws
 * `ERR_CONTROL_PLANE_COPY` saying what is missing or wrong.
 */
export async function openLogCopy(folder: string, logKey: NoteVerifier): Promise<LogCopy> {
  for (const place of places) {
    const found = join(folder, place);
    const note = await readFileIfPresent(join(found, "checkpoint"));
    if (note === undefined) continue;
    const checkpoint = checkCheckpoint(note, logKey);
    if (!checkpoint.ok)
      throw new MeshError(
        "ERR_CONTROL_PLANE_COPY",
        `${join(found, "checkpoint")} is not signed by this log's key: ${checkpoint.reason} ${checkpoint.detail}`,
      );
    const { size } = checkpoint.value;
    const hasSegments = await isFolder(join(found, "segments"));
    const entries = (): AsyncIterable<Uint8Array> =>
      hasSegments ? entriesOfSegments(found, size) : entriesOfTiles(found, size);
    return { folder: found, checkpoint: checkpoint.value, entries };
  }
  throw new MeshError(
    "ERR_CONTROL_PLANE_COPY",
    `no copy of a trust log in ${folder}: expected an agent's folder (DIR/agent) or published tiles, with a checkpoint`,
  );
}

/** Whether there is a folder at a path. */
export async function isFolder(path: string): Promise<boolean> {
  try {
    await readdir(path);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
}

async function* entriesOfSegments(folder: string, size: number): AsyncGenerator<Uint8Array> {
  let next = 0;
  for await (const finding of readJournal(join(folder, "segments"))) {
    if (next >= size || !("bytes" in finding) || finding.index !== next) return;
    yield finding.bytes;
    next += 1;
  }
}

async function* entriesOfTiles(folder: string, size: number): AsyncGenerator<Uint8Array> {
  for (let bundle = 0; bundle * tileWidth < size; bundle += 1) {
    const width = Math.min(tileWidth, size - bundle * tileWidth);
    const bytes = await readFileIfPresent(join(folder, entryBundlePath(bundle, width)));
    const entries = bytes === undefined ? [] : entriesOfBundle(bytes);
    yield* entries.slice(0, width);
    if (entries.length < width) return;
  }
}
