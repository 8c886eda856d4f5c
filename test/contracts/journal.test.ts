import { afterEach, describe, expect, test } from "vitest";
import {
  entryBytesMax,
  type Journal,
  openFileJournal,
  openMemoryJournal,
  openWriterLock,
} from "../../src/storage/index.ts";
import { collect } from "./collect.ts";
import { numberedEntry } from "./storage-processes/numbered-entry.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const resources: AsyncDisposable[] = [];

afterEach(async () => {
  for (const resource of resources.splice(0).reverse()) await resource[Symbol.asyncDispose]();
});

function use<Resource extends AsyncDisposable>(resource: Resource): Resource {
  resources.push(resource);
  return resource;
}

async function openInFiles(): Promise<Journal> {
  const folder = use(await temporaryFolder());
  const lock = use(await openWriterLock(folder.path));
  return use(await openFileJournal(folder.path, lock, { segmentBytesMax: 20_000 }));
}

async function entriesOf(journal: Journal, from = 0, to = journal.size): Promise<Buffer[]> {
  return (await collect(journal.read(from, to))).map((entry) => Buffer.from(entry));
}

describe.each([
  { kind: "file", openJournal: openInFiles },
  { kind: "memory", openJournal: async () => use(openMemoryJournal()) },
])("a $kind journal", ({ openJournal }) => {
  test("is empty at first", async () => {
    const journal = await openJournal();

    expect(journal.size).toBe(0);
    expect(journal.tornBytes).toBe(0);
    expect(await entriesOf(journal)).toEqual([]);
  });

  test("numbers entries from 0 in the order of calls and returns what was appended", async () => {
    const journal = await openJournal();
    const entries = Array.from({ length: 200 }, (_, index) => numberedEntry(index));

    const indexes = await Promise.all(entries.map((entry) => journal.append(entry)));

    expect(indexes).toEqual(entries.map((_, index) => index));
    expect(journal.size).toBe(200);
    expect(await entriesOf(journal)).toEqual(entries);
  });

  test("gives a group consecutive indexes and resolves to the first", async () => {
    const journal = await openJournal();

    const indexes = await Promise.all([
      journal.append(numberedEntry(0)),
      journal.appendAll([numberedEntry(1), numberedEntry(2), numberedEntry(3)]),
      journal.append(numberedEntry(4)),
    ]);

    expect(indexes).toEqual([0, 1, 4]);
    expect(await entriesOf(journal)).toEqual([0, 1, 2, 3, 4].map(numberedEntry));
  });

  test("reads any range", async () => {
    const journal = await openJournal();
    await journal.appendAll(Array.from({ length: 150 }, (_, index) => numberedEntry(index)));

    for (const [from, to] of [
      [0, 0],
      [0, 1],
      [63, 66],
      [64, 65],
      [128, 150],
      [150, 150],
    ] as const)
      expect(await entriesOf(journal, from, to)).toEqual(
        Array.from({ length: to - from }, (_, position) => numberedEntry(from + position)),
      );
  });

  test("takes entries of 1 and of 65,535 bytes", async () => {
    const journal = await openJournal();

    await journal.append(Buffer.alloc(1, 7));
    await journal.append(Buffer.alloc(entryBytesMax, 8));

    expect(await entriesOf(journal)).toEqual([Buffer.alloc(1, 7), Buffer.alloc(entryBytesMax, 8)]);
  });

  test("keeps what the entry was at the call", async () => {
    const journal = await openJournal();
    const entry = Buffer.from("before");

    const appended = journal.append(entry);
    entry.write("behind");
    await appended;

    expect(await entriesOf(journal)).toEqual([Buffer.from("before")]);
  });

  test("hands out copies", async () => {
    const journal = await openJournal();
    await journal.append(Buffer.from("kept"));

    for await (const entry of journal.read(0, 1)) entry.fill(0);

    expect(await entriesOf(journal)).toEqual([Buffer.from("kept")]);
  });

  test.each([
    { what: "an empty entry", entries: [new Uint8Array()] },
    { what: "an entry of 65,536 bytes", entries: [new Uint8Array(entryBytesMax + 1)] },
    { what: "a group that has one of these", entries: [numberedEntry(0), new Uint8Array()] },
    { what: "an empty group", entries: [] },
  ])("refuses $what and stays as it was: ERR_STORAGE_ENTRY", async ({ entries }) => {
    const journal = await openJournal();

    await expect(journal.appendAll(entries)).rejects.toMatchObject({ code: "ERR_STORAGE_ENTRY" });

    expect(journal.size).toBe(0);
    expect(await journal.append(numberedEntry(0))).toBe(0);
  });

  test.each([
    [-1, 1],
    [1, 0],
    [0, 2],
    [0.5, 1],
    [0, Number.NaN],
  ])("refuses to read %d to %d of one entry: ERR_STORAGE_RANGE", async (from, to) => {
    const journal = await openJournal();
    await journal.append(numberedEntry(0));

    await expect(entriesOf(journal, from, to)).rejects.toMatchObject({ code: "ERR_STORAGE_RANGE" });
  });

  test("finishes what waits when it is closed, and then takes nothing: ERR_STORAGE_CLOSED", async () => {
    const journal = await openJournal();

    const appended = journal.append(numberedEntry(0));
    await journal[Symbol.asyncDispose]();

    expect(await appended).toBe(0);
    await expect(journal.append(numberedEntry(1))).rejects.toMatchObject({ code: "ERR_STORAGE_CLOSED" });
  });
});

test("a memory journal keeps no more than its limit: ERR_STORAGE_FULL", async () => {
  await using journal = openMemoryJournal({ bytesMax: 20 });
  await journal.append(Buffer.alloc(10));

  await expect(journal.append(Buffer.alloc(10))).rejects.toMatchObject({ code: "ERR_STORAGE_FULL" });

  expect(journal.size).toBe(1);
});
