import { open } from "node:fs/promises";
import { syncFolder } from "./atomic-file.ts";
import { frameHeadBytes } from "./frame.ts";
import { listSegments, type Segment } from "./segment.ts";
import { storageFault } from "./storage-fault.ts";
import { type Walked, walkSegment } from "./walk-segment.ts";

/** The most bytes that one batch may have, and so the most that a crash can tear. */
export const batchBytesMax = 4 * 1024 * 1024;

/** Every how many entries a segment's index remembers a place. */
export const entriesPerMark = 64;

/** A segment whose frames have all been seen whole. */
export interface RecoveredSegment extends Segment {
  /** Where every 64th entry begins, in bytes. */
  readonly marks: number[];
}

/** A journal folder after recovery. */
export interface Recovered {
  readonly segments: RecoveredSegment[];
  readonly size: number;
  /** Bytes of the last segment that count. */
  readonly lastBytes: number;
  readonly tornBytes: number;
}

/**
 * Reads every segment, refuses damage (`ERR_STORAGE_DAMAGED`), cuts a torn tail and makes durable what counts.
 *
 * A tail counts as torn, that is as never acknowledged, if no whole frame follows its beginning, it is at the end of
 * the last segment, no longer than one batch, and the journal keeps at least `durableSizeMin` entries without it.
 * What this cannot tell from a crash is damage to the last batch alone: for that there is `durableSizeMin`. On the
 * other side, a power cut that loses the first blocks of an unacknowledged batch and keeps later ones reads as
 * damage; a person decides then.
 */
export async function recoverJournal(folder: string, durableSizeMin: number): Promise<Recovered> {
  const found = await listSegments(folder);
  const segments: RecoveredSegment[] = [];
  let size = 0;
  let last = { wholeBytes: 0, tornBytes: 0 };
  for (const segment of found) {
    assertNumbering(segment, size);
    const marks: number[] = [];
    last = { wholeBytes: 0, tornBytes: 0 };
    for await (const stretch of walkSegment(segment))
      for (const walked of stretch) {
        if ("bytes" in walked) {
          if ((walked.index - segment.firstIndex) % entriesPerMark === 0) marks.push(walked.offset);
          last.wholeBytes = walked.offset + frameHeadBytes + walked.bytes.byteLength;
          size = walked.index + 1;
        } else last.tornBytes = tornBytesAt(walked, segment, segment === found.at(-1));
      }
    segments.push({ ...segment, marks });
  }
  if (size < durableSizeMin)
    throw storageFault(
      "ERR_STORAGE_DAMAGED",
      `${folder} holds ${size} whole entries, but ${durableSizeMin} had been acknowledged: entry ${size} is lost${
        found.length > 0 ? `, in ${found.at(-1)?.path} at offset ${last.wholeBytes}` : ""
      }`,
    );
  await settle(folder, found.at(-1), last.wholeBytes);
  return { segments, size, lastBytes: last.wholeBytes, tornBytes: last.tornBytes };
}

function assertNumbering(segment: Segment, size: number): void {
  if (segment.firstIndex === size) return;
  const what =
    segment.firstIndex > size
      ? `entries ${size} to ${segment.firstIndex - 1} are missing before it`
      : `its first index, ${segment.firstIndex}, was passed before it: ${size} entries`;
  throw storageFault("ERR_STORAGE_DAMAGED", `${segment.path} does not continue the journal: ${what}`);
}

function tornBytesAt(
  walked: Extract<Walked, { problem: unknown }>,
  segment: Segment,
  isLastSegment: boolean,
): number {
  const { problem } = walked;
  const tailBytes = typeof problem === "string" ? Infinity : problem.tailBytes;
  if (isLastSegment && tailBytes <= batchBytesMax) return tailBytes;
  const what = typeof problem === "string" ? problem : `nothing whole in the last ${tailBytes} bytes`;
  throw storageFault(
    "ERR_STORAGE_DAMAGED",
    `${segment.path} is damaged at offset ${walked.offset}, entry ${walked.index}: ${what}`,
  );
}

// A killed process leaves whole frames that only the page cache has: they count as durable, so they are made so.
async function settle(folder: string, last: Segment | undefined, wholeBytes: number): Promise<void> {
  if (last === undefined) return;
  await using file = await open(last.path, "r+");
  await file.truncate(wholeBytes);
  await file.sync();
  await syncFolder(folder);
}
