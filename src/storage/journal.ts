/**
 * An append-only sequence of opaque entries of 1 to 65 535 bytes, numbered from 0, with one writer.
 *
 * What is acknowledged survives a crash of the process and, as far as the disk tells the truth about
 * `fdatasync`, of the machine. What was appended but not acknowledged may or may not be there afterwards; if it is,
 * everything appended before it is there too.
 */
export interface Journal extends AsyncDisposable {
  /** How many entries are durable: recovered at opening or acknowledged since. */
  readonly size: number;

  /** How many bytes of a torn tail the opening cut off; 0 after a clean end. */
  readonly tornBytes: number;

  /**
   * Appends one entry (copied before the call returns) and resolves to its index once it is on disk. The order of
   * calls is the order of indexes. Rejects with `ERR_STORAGE_ENTRY` (a length that no journal takes),
   * `ERR_STORAGE_BUSY` (too much is waiting: try again later), `ERR_STORAGE_FULL`, `ERR_STORAGE_IO`,
   * `ERR_STORAGE_POISONED` (reopen it) or `ERR_STORAGE_CLOSED`. A rejected entry is not in the journal, and neither is
   * any that was appended after it and had to wait with it.
   */
  append(entry: Uint8Array): Promise<number>;

  /**
   * Appends entries that get consecutive indexes and are acknowledged together; resolves to the index of the first.
   * An error leaves none of them. A crash before the acknowledgement may leave the first few without the others: who
   * needs more than that puts them into one entry.
   */
  appendAll(entries: readonly Uint8Array[]): Promise<number>;

  /**
   * The entries `from` to `to` (exclusive), in order, each a copy. Holds one window of the file in memory, never
   * the whole range. Throws `ERR_STORAGE_RANGE` unless 0 ≤ from ≤ to ≤ size, and `ERR_STORAGE_DAMAGED` for an entry
   * that is no longer what was written.
   */
  read(from: number, to: number): AsyncIterable<Uint8Array>;
}
