import { sameBytes } from "../base/bytes.ts";
import type { Update } from "../protocol/index.ts";
import { type CheckedCheckpoint, leafHash, MerkleTree } from "../trust-log/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";
import type { OperatorClient } from "./operator-client.ts";

/** All entries of the log, with their tree and the checkpoint that covers exactly them. */
export interface SignedEntries {
  readonly entries: readonly Uint8Array[];
  readonly tree: MerkleTree;
  readonly checkpoint: Uint8Array;
}

/** Reads the entries up to the checkpoint that the client has checked. */
export async function readEntries(client: OperatorClient): Promise<SignedEntries> {
  const { checkpoint } = client.view.follower;
  if (checkpoint === undefined) throw new CliError(exitCode.notFound, "the log has no checkpoint yet");
  return collectEntries(client.admin.readLog({ fromSize: 0n }), checkpoint);
}

/** The entries that a stream brings; they count only if they hash to the root of the checkpoint, which was checked. */
export async function collectEntries(
  updates: AsyncIterable<Update>,
  checkpoint: CheckedCheckpoint,
): Promise<SignedEntries> {
  const entries: Uint8Array[] = [];
  const tree = new MerkleTree();
  for await (const { content } of updates)
    for (const entry of content.case === "step" ? content.value.entries : []) {
      if (entries.length === checkpoint.size) break;
      entries.push(entry);
      tree.append(leafHash(entry));
    }
  if (tree.size !== checkpoint.size || !sameBytes(tree.root(), checkpoint.root))
    throw new CliError(exitCode.no, "the control plane sent other entries than those that it signed before");
  return { entries, tree, checkpoint: checkpoint.note };
}
