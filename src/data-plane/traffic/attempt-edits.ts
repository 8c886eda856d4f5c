import { type HeadEdits, headerLines } from "../http1/index.ts";

/**
 * The edits of one attempt at a request, the first of which is 1: each other says which it is, and, where the caller has
 * said how long it waits (`grpc-timeout`), how much of that is left.
 */
export function editsOfAttempt(edits: HeadEdits, attempt: number, leftMillis: number | undefined): HeadEdits {
  if (attempt === 1) return edits;
  const number: [string, string] = ["Troth-Attempt", String(attempt)];
  if (leftMillis === undefined) return { ...edits, add: Buffer.concat([edits.add, headerLines([number])]) };
  const timeout: [string, string] = ["grpc-timeout", `${Math.max(1, Math.floor(leftMillis))}m`];
  return {
    ...edits,
    remove: [...edits.remove, "grpc-timeout"],
    add: Buffer.concat([edits.add, headerLines([number, timeout])]),
  };
}
