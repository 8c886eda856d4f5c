import { base64Of, sameBytes } from "../base/bytes.ts";
import type { Log } from "../base/log.ts";
import { MeshError } from "../base/mesh-error.ts";
import type { KeptSnapshot } from "../storage/index.ts";
import {
  foldEntry,
  leafHash,
  MerkleTree,
  type PresentedSnapshot,
  readSnapshot,
  TrustState,
} from "../trust-log/index.ts";
import type { LogStorage } from "./log-storage.ts";

/** What a journal holds. */
export interface ReplayedLog {
  readonly state: TrustState;
  readonly tree: MerkleTree;
  readonly genesisEntry: Uint8Array | undefined;
  /** The snapshot that it was replayed from, if there was one. */
  readonly snapshot: (PresentedSnapshot & { readonly size: number }) | undefined;
}

/**
 * Rebuilds tree and state from a journal and compares them with what was signed. Throws where the log does not replay,
 * or is not the one that the head says was signed.
 */
export async function replayLog(storage: LogStorage, log: Log): Promise<ReplayedLog> {
  const { journal, head, loadSnapshot } = storage;
  const kept = await loadSnapshot();
  const isUsable = kept !== undefined && kept.size < journal.size;
  const replayed =
    (isUsable ? await replayFrom(kept, storage, log) : undefined) ??
    (await replayFrom(undefined, storage, log));
  if (replayed === undefined)
    throw new MeshError("ERR_CONTROL_PLANE_LOG_UNREADABLE", "the trust log does not replay");
  const { tree } = replayed;
  const signed = head.current;
  if (signed !== undefined && (signed.size > tree.size || !sameBytes(tree.root(signed.size), signed.root)))
    throw new MeshError(
      "ERR_CONTROL_PLANE_LOG_ROLLED_BACK",
      `the trust log on disk (${tree.size} entries) is not the one that was signed (${signed.size} entries); nothing will be signed over it`,
    );
  return replayed;
}

/** Folds from a snapshot on, or from genesis; undefined where the snapshot is not what the log committed to. */
async function replayFrom(
  kept: KeptSnapshot | undefined,
  { journal }: LogStorage,
  log: Log,
): Promise<ReplayedLog | undefined> {
  const tree = new MerkleTree();
  let state = new TrustState();
  let genesisEntry: Uint8Array | undefined;
  let snapshot: (PresentedSnapshot & { readonly size: number }) | undefined;
  for await (const entry of journal.read(0, journal.size)) {
    const index = tree.size;
    genesisEntry ??= entry;
    if (kept !== undefined && index === kept.size) {
      snapshot = { ...kept, epochEntry: entry, genesisEntry };
      const read = readSnapshot(snapshot, base64Of(leafHash(genesisEntry)));
      // The digest vouches for the state; the edge of the tree is only as good as this comparison.
      if (!read.ok || !sameBytes(read.value.frontier.root(), tree.root())) {
        log.warn("snapshot not used", { reason: read.ok ? "wrong-root" : read.reason });
        return undefined;
      }
      state = read.value.state;
    }
    if (index >= (kept?.size ?? 0)) refold({ state, tree, log }, entry);
    tree.append(leafHash(entry));
  }
  return { state, tree, genesisEntry, snapshot };
}

function refold(
  { state, tree, log }: { readonly state: TrustState; readonly tree: MerkleTree; readonly log: Log },
  entry: Uint8Array,
): void {
  const folded = foldEntry(state, tree, entry);
  if (!folded.ok)
    throw new MeshError(
      "ERR_CONTROL_PLANE_LOG_UNREADABLE",
      `trust log entry ${tree.size}: ${folded.reason}: ${folded.detail}`,
    );
  if (!folded.value.hasEffect)
    log.warn("entry without effect", { index: tree.size, reason: folded.value.reason });
}
