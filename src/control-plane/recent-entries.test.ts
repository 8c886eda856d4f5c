import fc from "fast-check";
import { expect, it } from "vitest";
import { RecentEntries, recentBytesMax, recentEntriesMax } from "./recent-entries.ts";

const entryAt = (index: number): Uint8Array => Uint8Array.of(index & 255, index >> 8);
const entriesFrom = (from: number, count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, at) => entryAt(from + at));

it("answers with the entries of a journal as they are there, or not at all", () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(400), { maxLength: 8 }),
      fc.nat(3_000),
      fc.nat(300),
      (counts, from, count) => {
        const recent = new RecentEntries();
        let size = 0;
        for (const added of counts) {
          recent.add(entriesFrom(size, added), size + added);
          size += added;
        }
        const found = recent.between(from, from + count);
        const isThere = from + count <= size && from >= size - recentEntriesMax;
        if (found === undefined) expect(isThere).toBe(false);
        else expect(found).toEqual(entriesFrom(from, count));
      },
    ),
  );
});

it("forgets what does not join what comes next", () => {
  const recent = new RecentEntries();
  recent.add(entriesFrom(0, 3), 3);
  recent.add(entriesFrom(5, 2), 7);

  expect(recent.between(0, 3)).toBeUndefined();
  expect(recent.between(2, 6)).toBeUndefined();
  expect(recent.between(5, 7)).toEqual(entriesFrom(5, 2));
});

it("keeps so many bytes and no more", () => {
  const recent = new RecentEntries();
  const large = new Uint8Array(recentBytesMax / 4);
  for (let size = 1; size <= 6; size += 1) recent.add([large], size);

  expect(recent.between(2, 6)).toHaveLength(4);
  expect(recent.between(1, 6)).toBeUndefined();
});

it("keeps its own copy of an entry", () => {
  const recent = new RecentEntries();
  const entry = entryAt(7);
  recent.add([entry], 1);
  entry.fill(0);

  expect(recent.between(0, 1)).toEqual([entryAt(7)]);
});
