import { type Journal, openMemoryJournal } from "../../src/storage/index.ts";

/** A disk that a test can hold back or fill. */
export interface Disk {
  gate: Promise<void>;
  isFull: boolean;
}

/** A journal in memory whose writes wait for the disk's gate, and fail while it is full. */
export function heldJournal(disk: Disk): Journal {
  const journal = openMemoryJournal();
  return {
    get size() {
      return journal.size;
    },
    tornBytes: 0,
    append: (entry) => journal.append(entry),
    appendAll: async (entries) => {
      await disk.gate;
      if (disk.isFull) throw new Error("no space left");
      return journal.appendAll(entries);
    },
    read: (from, to) => journal.read(from, to),
    [Symbol.asyncDispose]: () => journal[Symbol.asyncDispose](),
  };
}
