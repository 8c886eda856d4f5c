import { base64Of, bytesOfBase64 } from "../base/bytes.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { hashBytes } from "./merkle-tree.ts";
import { isSignedBy, type NoteSigner, type NoteVerifier, parseNote, signNote } from "./signed-note.ts";

/** How many entries a log has and what they hash to. */
export interface TreeHead {
  readonly size: number;
  readonly root: Uint8Array;
}

declare const checked: unique symbol;

/** A checkpoint whose signature was checked; only {@link checkCheckpoint} makes one. */
export type CheckedCheckpoint = TreeHead & {
  readonly origin: string;
  readonly note: Uint8Array;
  readonly [checked]: true;
};

/** Why a checkpoint was not accepted. */
export type CheckpointRefusal = "malformed-checkpoint" | "other-origin" | "bad-checkpoint-signature";

/** Signs a tree head for the log whose name the signer bears (C2SP tlog-checkpoint). */
export function signCheckpoint(head: TreeHead, signer: NoteSigner): Uint8Array {
  return signNote(`${signer.name}\n${head.size}\n${base64Of(head.root)}\n`, [signer]);
}

/** Checks that `note` is a checkpoint of the log that `verifier` speaks for. Extension lines are not accepted. */
export function checkCheckpoint(
  note: Uint8Array,
  verifier: NoteVerifier,
): Result<CheckedCheckpoint, CheckpointRefusal> {
  const parsed = parseNote(note);
  if (!parsed.ok) return fail("malformed-checkpoint", parsed.detail);
  const [origin, sizeText, rootText, end, ...more] = parsed.value.text.split("\n");
  if (
    origin === undefined ||
    sizeText === undefined ||
    rootText === undefined ||
    end !== "" ||
    more.length > 0
  )
    return fail("malformed-checkpoint", "expected three lines");
  const root = bytesOfBase64(rootText);
  const size = Number(sizeText);
  if (!/^(0|[1-9][0-9]*)$/.test(sizeText) || !Number.isSafeInteger(size) || root?.byteLength !== hashBytes)
    return fail("malformed-checkpoint", "size or root");
  if (origin !== verifier.name) return fail("other-origin", `${origin} instead of ${verifier.name}`);
  if (!isSignedBy(parsed.value, verifier)) return fail("bad-checkpoint-signature", verifier.name);
  return ok(markChecked({ origin, size, root, note }));
}

function markChecked(head: TreeHead & { origin: string; note: Uint8Array }): CheckedCheckpoint {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the one place that may say so
  return head as CheckedCheckpoint;
}
