import { base64Of, bytesOf, bytesOfBase64, concatBytes, textOf } from "../base/bytes.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type CheckpointRefusal, checkCheckpoint } from "./checkpoint.ts";
import { isIncluded } from "./merkle-proof.ts";
import { hashBytes, leafHash } from "./merkle-tree.ts";
import type { NoteVerifier } from "./signed-note.ts";

const header = "c2sp.org/tlog-proof@v1";
/** A tree of 2^53 entries has no longer path. */
const hashesMax = 53;
const proofBytesMax = 64 * 1024;

/** That an entry is number `index` of the tree that a checkpoint was signed over. */
export interface TlogProof {
  readonly index: number;
  readonly hashes: readonly Uint8Array[];
  readonly checkpoint: Uint8Array;
}

/** Why a proof file shows nothing. */
export type TlogProofRefusal = "malformed-proof" | CheckpointRefusal | "not-included";

/** What a proof showed: the entry's place, and the tree that the log signed. */
export interface ProvedEntry {
  readonly index: number;
  readonly size: number;
  readonly root: Uint8Array;
}

/** The proof as a file (C2SP tlog-proof), without extra data. */
export function formatTlogProof({ index, hashes, checkpoint }: TlogProof): Uint8Array {
  const lines = [header, `index ${index}`, ...hashes.map(base64Of), "", ""];
  return concatBytes(bytesOf(lines.join("\n")), checkpoint);
}

/** Takes a proof file apart. Extra data is passed over: nobody signed it. */
export function parseTlogProof(bytes: Uint8Array): Result<TlogProof, "malformed-proof"> {
  const text = bytes.byteLength > proofBytesMax ? undefined : textOf(bytes);
  const end = text?.indexOf("\n\n") ?? -1;
  if (text === undefined || end < 0) return fail("malformed-proof", "not a proof and a checkpoint");
  const [first, ...rest] = text.slice(0, end).split("\n");
  if (first !== header) return fail("malformed-proof", `does not begin with ${header}`);
  const hasExtra = rest[0]?.startsWith("extra ") === true;
  if (hasExtra && bytesOfBase64(rest[0]?.slice("extra ".length) ?? "") === undefined)
    return fail("malformed-proof", "extra data that is not base64");
  const [indexLine = "", ...hashLines] = hasExtra ? rest.slice(1) : rest;
  const index = Number(/^index (0|[1-9][0-9]*)$/.exec(indexLine)?.[1] ?? "NaN");
  if (!Number.isSafeInteger(index)) return fail("malformed-proof", "no index");
  const hashes = hashLines.flatMap((line) => bytesOfBase64(line) ?? []);
  if (
    hashes.length !== hashLines.length ||
    hashes.length > hashesMax ||
    hashes.some((hash) => hash.byteLength !== hashBytes)
  )
    return fail("malformed-proof", "a line that is no hash");
  return ok({ index, hashes, checkpoint: bytesOf(text.slice(end + 2)) });
}

/** Whether a proof file shows that this very entry is in the log that `logKey` speaks for. Needs nothing else. */
export function checkTlogProof(
  bytes: Uint8Array,
  entry: Uint8Array,
  logKey: NoteVerifier,
): Result<ProvedEntry, TlogProofRefusal> {
  const proof = parseTlogProof(bytes);
  if (!proof.ok) return proof;
  const checkpoint = checkCheckpoint(proof.value.checkpoint, logKey);
  if (!checkpoint.ok) return checkpoint;
  const { index, hashes } = proof.value;
  const { size, root } = checkpoint.value;
  return isIncluded({ leaf: leafHash(entry), index, size, root }, hashes)
    ? ok({ index, size, root })
    : fail("not-included", `this entry is not number ${index} of the ${size} that were signed`);
}
