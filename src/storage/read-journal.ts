import { listSegments } from "./segment.ts";
import { onDisk } from "./storage-fault.ts";
import { type SegmentProblem, walkSegment } from "./walk-segment.ts";

/** What a journal folder holds at one index: the entry, or what is wrong there. */
export type JournalFinding =
  | { readonly index: number; readonly bytes: Uint8Array }
  | {
      readonly index: number;
      readonly problem: JournalProblem;
      readonly path: string;
      /** Where in the file, in bytes. */
      readonly offset: number;
    };

/**
 * `checksum`: this entry is not what was written; the next one is at the place that its length names.
 * `length`: where this entry ends is lost; later numbers of this file assume that it was one entry.
 * `torn`: the last bytes of the last file are no whole entry, as after a crash, or while a writer is at work.
 * `unreadable`: the same at the end of another file, which no crash explains.
 * `missing`: this entry, and all up to where the file named by `path` begins.
 * `overlap`: the file named by `path` begins at an index that an earlier file has passed.
 */
export type JournalProblem = "checksum" | "length" | "torn" | "unreadable" | "missing" | "overlap";

/**
 * Reads a journal folder as it is, for an offline verifier: needs no lock, changes nothing, does not stop at
 * damage. Each problem is reported once and reading goes on behind it.
 */
export async function* readJournal(folder: string): AsyncGenerator<JournalFinding> {
  const segments = await onDisk(folder, () => listSegments(folder));
  let index = 0;
  for (const segment of segments) {
    const { firstIndex, path } = segment;
    if (firstIndex > index) yield { index, problem: "missing", path, offset: 0 };
    if (firstIndex < index) yield { index: firstIndex, problem: "overlap", path, offset: 0 };
    index = firstIndex;
    for await (const stretch of walkSegment(segment))
      for (const walked of stretch) {
        index = walked.index + 1;
        if ("bytes" in walked) yield { index: walked.index, bytes: new Uint8Array(walked.bytes) };
        else {
          const problem = problemIn(walked.problem, segment === segments.at(-1));
          yield { index: walked.index, problem, path, offset: walked.offset };
        }
      }
  }
}

function problemIn(problem: SegmentProblem, isLastSegment: boolean): JournalProblem {
  if (typeof problem === "string") return problem;
  return isLastSegment ? "torn" : "unreadable";
}
