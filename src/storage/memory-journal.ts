import { framedBytesOf } from "./batch.ts";
import type { Journal } from "./journal.ts";
import { storageFault } from "./storage-fault.ts";

/** A journal that ends with its process; `bytesMax` (64 MiB) bounds what it keeps, heads of frames included. */
export function openMemoryJournal({ bytesMax = 64 * 1024 * 1024 } = {}): Journal {
  const kept: Uint8Array[] = [];
  let keptBytes = 0;
  let isClosed = false;

  function take(entries: readonly Uint8Array[]): number {
    if (isClosed) throw storageFault("ERR_STORAGE_CLOSED", "the journal is closed");
    const bytes = framedBytesOf(entries, { entriesMax: Number.MAX_SAFE_INTEGER, bytesMax: Infinity });
    if (keptBytes + bytes > bytesMax)
      throw storageFault("ERR_STORAGE_FULL", `a memory journal keeps at most ${bytesMax} bytes`);
    keptBytes += bytes;
    return kept.push(...entries.map((entry) => new Uint8Array(entry))) - entries.length;
  }

  return {
    get size() {
      return kept.length;
    },
    tornBytes: 0,
    append: async (entry) => take([entry]),
    appendAll: async (entries) => take(entries),
    async *read(from, to) {
      assertRange(from, to, kept.length);
      for (const entry of kept.slice(from, to)) yield new Uint8Array(entry);
    },
    async [Symbol.asyncDispose]() {
      isClosed = true;
    },
  };
}

/** Throws `ERR_STORAGE_RANGE` unless 0 ≤ from ≤ to ≤ size. */
export function assertRange(from: number, to: number, size: number): void {
  const isRange = Number.isSafeInteger(from) && Number.isSafeInteger(to) && 0 <= from && from <= to;
  if (!isRange || to > size)
    throw storageFault("ERR_STORAGE_RANGE", `there is no range ${from} to ${to} in ${size} entries`);
}
