/** How many entries are kept, and how many bytes of them at most. */
export const recentEntriesMax = 1_024;
export const recentBytesMax = 1_048_576;

/**
 * The newest entries of a journal in memory: what followers that are up to date ask for at each checkpoint, all of them
 * at once, without a file being opened for each.
 */
export class RecentEntries {
  #entries: Uint8Array[] = [];
  #bytes = 0;
  /** The size of the journal after the last of them. */
  #size = 0;

  /** Takes entries that have just become durable; `size` is the journal's with them. */
  add(entries: readonly Uint8Array[], size: number): void {
    // Something else has been written in between, or nothing was kept yet.
    if (size - entries.length !== this.#size) this.#forget(this.#entries.length);
    this.#size = size;
    for (const entry of entries) {
      // A copy, since a message of the network may be around it.
      this.#entries.push(entry.slice());
      this.#bytes += entry.byteLength;
    }
    let over = Math.max(0, this.#entries.length - recentEntriesMax);
    for (let bytes = this.#bytes; bytes > recentBytesMax && over < this.#entries.length; over += 1)
      bytes -= this.#entries[over]?.byteLength ?? 0;
    this.#forget(over);
  }

  /** Entries from..to; undefined unless all of them are here. */
  between(from: number, to: number): readonly Uint8Array[] | undefined {
    const first = this.#size - this.#entries.length;
    return from >= first && to <= this.#size && from <= to
      ? this.#entries.slice(from - first, to - first)
      : undefined;
  }

  #forget(count: number): void {
    for (const entry of this.#entries.splice(0, count)) this.#bytes -= entry.byteLength;
  }
}
