import type { Head, Journal, KeptSnapshot } from "../storage/index.ts";

/** What a log writer needs from the disk; the folder is locked by its owner. */
export interface LogStorage {
  readonly journal: Journal;
  readonly head: Head;
  /** Keeps the snapshot of a size, in place of older ones. */
  readonly saveSnapshot: (snapshot: KeptSnapshot) => Promise<void>;
  /** The newest snapshot that was kept. */
  readonly loadSnapshot: () => Promise<KeptSnapshot | undefined>;
}
