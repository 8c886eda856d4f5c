import { spawnSync } from "node:child_process";
import {
  appendFile,
  copyFile,
  open,
  readdir,
  readFile,
  rename,
  truncate,
  unlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { collect } from "../../test/contracts/collect.ts";
import { numberedEntry } from "../../test/contracts/storage-processes/numbered-entry.ts";
import { type TemporaryFolder, temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { type FileJournalOptions, openFileJournal } from "./file-journal.ts";
import type { Journal } from "./journal.ts";
import { readJournal } from "./read-journal.ts";
import { segmentAt } from "./segment.ts";
import { openWriterLock, type WriterLock } from "./writer-lock.ts";

let folder: TemporaryFolder;
let lock: WriterLock;

beforeEach(async () => {
  folder = await temporaryFolder();
  lock = await openWriterLock(folder.path);
});

afterEach(async () => {
  await lock[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

function openIt(options: FileJournalOptions = {}): Promise<Journal> {
  return openFileJournal(folder.path, lock, options);
}

const first = () => segmentAt(folder.path, 0).path;

/** Three entries; their frames are at 0, 13 and 26 and end at 39. */
const three = ["entry 0", "entry 1", "entry 2"].map((text) => Buffer.from(text));

async function writeThree(): Promise<Buffer> {
  await using journal = await openIt();
  await journal.appendAll(three);
  return await readFile(first());
}

async function entriesOf(journal: Journal): Promise<Buffer[]> {
  return (await collect(journal.read(0, journal.size))).map((entry) => Buffer.from(entry));
}

describe("a torn tail", () => {
  test("is cut and counted wherever the last frame breaks off", async () => {
    const whole = await writeThree();

    for (let end = 27; end < 39; end += 1) {
      await writeFile(first(), whole.subarray(0, end));
      await using journal = await openIt();
      expect(journal.tornBytes).toBe(end - 26);
      expect(await entriesOf(journal)).toEqual(three.slice(0, 2));
      expect(await journal.append(Buffer.from("again"))).toBe(2);
    }
    await using journal = await openIt();
    expect(await entriesOf(journal)).toEqual([...three.slice(0, 2), Buffer.from("again")]);
  });

  test.each([
    { what: "zeros, as file systems leave them", tail: Buffer.alloc(100_000) },
    { what: "a frame longer than what is left", tail: Buffer.from([0xff, 0xff, 1, 2, 3, 4, 5]) },
    { what: "a frame from another place", tail: undefined },
  ])("may be $what", async ({ tail }) => {
    const whole = await writeThree();
    const added = tail ?? whole.subarray(13, 26);
    await appendFile(first(), added);

    await using journal = await openIt();

    expect(journal.tornBytes).toBe(added.byteLength);
    expect(await entriesOf(journal)).toEqual(three);
  });

  test("may quote a frame in its entry", async () => {
    const whole = await writeThree();
    const quoting = Buffer.concat([Buffer.from([0x10, 0, 0, 0, 0, 0]), whole]);
    await appendFile(first(), quoting);

    await using journal = await openIt();

    expect(journal.tornBytes).toBe(quoting.byteLength);
  });

  test("is damage where the entries had been acknowledged, and then stays as it is", async () => {
    const whole = await writeThree();
    await truncate(first(), 30);

    const opening = openIt({ durableSizeMin: 3 });

    await expect(opening).rejects.toMatchObject({
      code: "ERR_STORAGE_DAMAGED",
      message: expect.stringMatching(/entry 2 is lost, in .*000000000000\.seg at offset 26/),
    });
    expect(await readFile(first())).toEqual(whole.subarray(0, 30));
  });

  test("is damage where it is longer than one batch", async () => {
    await writeThree();
    await appendFile(first(), Buffer.alloc(4 * 1024 * 1024 + 1));

    await expect(openIt()).rejects.toMatchObject({
      code: "ERR_STORAGE_DAMAGED",
      message: expect.stringContaining("offset 39, entry 3"),
    });
  });
});

describe("damage", () => {
  test("is any flipped bit of a frame that others follow, and names file, offset and entry", async () => {
    const whole = await writeThree();

    for (let bit = 13 * 8; bit < 26 * 8; bit += 1) {
      const flipped = Buffer.from(whole);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      await writeFile(first(), flipped);
      await expect(openIt(), `bit ${bit}`).rejects.toMatchObject({
        code: "ERR_STORAGE_DAMAGED",
        message: expect.stringMatching(/000000000000\.seg is damaged at offset 13, entry 1/),
      });
      expect(await readFile(first())).toEqual(flipped);
      expect(await findings()).toEqual([
        "0 entry 0",
        bit < 15 * 8 ? "1 length at 13" : "1 checksum at 13",
        "2 entry 2",
      ]);
    }
  });

  test("is a frame that was taken out, doubled or moved", async () => {
    const whole = await writeThree();
    const frames = [whole.subarray(0, 13), whole.subarray(13, 26), whole.subarray(26)] as const;

    for (const order of [
      [0, 2, 2],
      [0, 0, 1, 2],
      [1, 0, 2],
    ] as const) {
      await writeFile(first(), Buffer.concat(order.map((position) => frames[position])));
      const problems = (await findings()).filter((finding) => / at /.test(finding));
      expect(problems).not.toEqual([]);
    }
    await writeFile(first(), Buffer.concat([frames[1], frames[0], frames[2]]));
    await expect(openIt()).rejects.toMatchObject({ code: "ERR_STORAGE_DAMAGED" });
  });

  test("in a file that others follow is never cut", async () => {
    await writeSegments();
    await truncate(segmentAt(folder.path, 2).path, 20);

    await expect(openIt()).rejects.toMatchObject({
      code: "ERR_STORAGE_DAMAGED",
      message: expect.stringMatching(/000000000002\.seg is damaged at offset 13, entry 3/),
    });
    expect(await findings()).toContain("3 unreadable at 13");
  });

  test.each([
    {
      what: "a missing file",
      harm: () => unlink(segmentAt(folder.path, 2).path),
      message: /entries 2 to 3 are missing/,
      found: "2 missing at 0",
    },
    {
      what: "a missing first file",
      harm: () => unlink(first()),
      message: /entries 0 to 1 are missing/,
      found: "0 missing at 0",
    },
    {
      what: "overlapping numbers",
      harm: () => copyFile(segmentAt(folder.path, 2).path, segmentAt(folder.path, 3).path),
      message: /its first index, 3, was passed/,
      found: "3 overlap at 0",
    },
  ])("is $what", async ({ harm, message, found }) => {
    await writeSegments();

    await harm();

    await expect(openIt()).rejects.toMatchObject({
      code: "ERR_STORAGE_DAMAGED",
      message: expect.stringMatching(message),
    });
    expect(await findings()).toContain(found);
  });

  test("is a segment whose name is no index", async () => {
    await writeThree();
    await rename(first(), join(folder.path, "1.seg"));

    await expect(openIt()).rejects.toMatchObject({ code: "ERR_STORAGE_DAMAGED" });
  });

  test("that comes while the journal is open is found when it is read", async () => {
    await using journal = await openIt();
    await journal.appendAll(three);
    await flipAt(first(), 20);

    await expect(entriesOf(journal)).rejects.toMatchObject({
      code: "ERR_STORAGE_DAMAGED",
      message: expect.stringContaining("offset 13, entry 1"),
    });
  });

  test("of a file that became shorter is found when it is read", async () => {
    await using journal = await openIt();
    await journal.appendAll(three);
    await truncate(first(), 26);

    await expect(entriesOf(journal)).rejects.toMatchObject({ code: "ERR_STORAGE_DAMAGED" });
  });

  /** Six entries in files of two. */
  async function writeSegments(): Promise<void> {
    await using journal = await openIt({ segmentBytesMax: 26 });
    for (const entry of [...three, ...three]) await journal.append(entry);
  }
});

test("an offline reader takes a torn tail for what it is, and changes nothing", async () => {
  const whole = await writeThree();
  await truncate(first(), 30);

  expect(await findings()).toEqual(["0 entry 0", "1 entry 1", "2 torn at 26"]);
  expect(await readFile(first())).toEqual(whole.subarray(0, 30));
});

test("an offline reader finds nothing in an empty folder", async () => {
  expect(await findings()).toEqual([]);
});

async function findings(): Promise<string[]> {
  return (await collect(readJournal(folder.path))).map((finding) =>
    "bytes" in finding
      ? `${finding.index} ${Buffer.from(finding.bytes).toString()}`
      : `${finding.index} ${finding.problem} at ${finding.offset}`,
  );
}

async function flipAt(path: string, offset: number): Promise<void> {
  await using file = await open(path, "r+");
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, offset);
  await file.write(Buffer.from([buffer.readUInt8(0) ^ 1]), 0, 1, offset);
}

test("begins a new file before the batch that would exceed the limit", async () => {
  await using journal = await openIt({ segmentBytesMax: 39 });
  for (let index = 0; index < 7; index += 1) await journal.append(Buffer.from(`entry ${index}`));

  const names = (await readdir(folder.path)).filter((name) => name.endsWith(".seg")).sort();

  expect(names).toEqual(["000000000000.seg", "000000000003.seg", "000000000006.seg"]);
  expect(await entriesOf(journal)).toEqual(
    [0, 1, 2, 3, 4, 5, 6].map((index) => Buffer.from(`entry ${index}`)),
  );
});

test("writes an entry as length, checksum over place and length and bytes, bytes", async () => {
  const whole = await writeThree();

  expect(whole.subarray(13, 26).toString("hex")).toBe("00074921901c656e7472792031");
});

test("continues in an empty last file, which a crash right after its making leaves", async () => {
  await writeThree();
  await writeFile(segmentAt(folder.path, 3).path, "");

  await using journal = await openIt();

  expect(await journal.append(Buffer.from("entry 3"))).toBe(3);
  expect(journal.tornBytes).toBe(0);
  expect(await entriesOf(journal)).toHaveLength(4);
});

test("refuses more than may wait: ERR_STORAGE_BUSY, and takes it again once the disk is done", async () => {
  await using journal = await openIt({ pendingEntriesMax: 3 });

  const outcomes = await Promise.allSettled(three.concat(three).map((entry) => journal.append(entry)));

  expect(outcomes.map(({ status }) => status)).toEqual([
    ...Array(3).fill("fulfilled"),
    ...Array(3).fill("rejected"),
  ]);
  expect(outcomes[3]).toMatchObject({ reason: { code: "ERR_STORAGE_BUSY" } });
  expect(await journal.append(Buffer.from("later"))).toBe(3);
});

test("bounds what waits in bytes, too", async () => {
  await using journal = await openIt({ pendingBytesMax: 30 });

  const outcomes = await Promise.allSettled(three.map((entry) => journal.append(entry)));

  expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
  await expect(journal.appendAll(three)).rejects.toMatchObject({ code: "ERR_STORAGE_ENTRY" });
});

test("does not open without its lock: ERR_STORAGE_FENCED", async () => {
  await lock[Symbol.asyncDispose]();

  await expect(openIt()).rejects.toMatchObject({ code: "ERR_STORAGE_FENCED" });
});

test("begins no file once another writer has taken over: ERR_STORAGE_FENCED", async () => {
  await using journal = await openIt({ segmentBytesMax: 13 });
  await journal.append(Buffer.from("entry 0"));
  await lock[Symbol.asyncDispose]();
  await using successor = await openWriterLock(folder.path);

  await expect(journal.append(Buffer.from("entry 1"))).rejects.toMatchObject({ code: "ERR_STORAGE_FENCED" });

  await successor.assertHeld();
  expect(journal.size).toBe(1);
});

test("keeps what was acknowledged through any appends, reopenings and cuts", async () => {
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        append: fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 6, minLength: 1 }),
      }),
    },
    { weight: 1, arbitrary: fc.constant("reopen" as const) },
    { weight: 1, arbitrary: fc.record({ cutPermille: fc.integer({ min: 0, max: 1000 }) }) },
  );

  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      await using folder = await temporaryFolder();
      await using lock = await openWriterLock(folder.path);
      const openIt = (durableSizeMin = 0) =>
        openFileJournal(folder.path, lock, { segmentBytesMax: 600, durableSizeMin });
      let kept: Buffer[] = [];
      let journal = await openIt();
      for (const step of steps) {
        if (typeof step === "object" && "append" in step) {
          const added = step.append.map((length, position) => Buffer.alloc(length, kept.length + position));
          const indexes = await Promise.all(added.map((entry) => journal.append(entry)));
          expect(indexes).toEqual(added.map((_, position) => kept.length + position));
          kept.push(...added);
          continue;
        }
        await journal[Symbol.asyncDispose]();
        if (typeof step === "object") kept = await cut(step.cutPermille);
        journal = await openIt(kept.length);
        expect(await entriesOf(journal)).toEqual(kept);
      }
      await journal[Symbol.asyncDispose]();

      async function cut(permille: number): Promise<Buffer[]> {
        const name = (await readdir(folder.path))
          .filter((name) => name.endsWith(".seg"))
          .sort()
          .at(-1);
        if (name === undefined) return kept;
        const path = join(folder.path, name);
        const bytes = await readFile(path);
        const end = Math.floor((bytes.byteLength * permille) / 1000);
        await truncate(path, end);
        let [count, offset] = [Number(name.slice(0, 12)), 0];
        for (const entry of kept.slice(count)) {
          offset += 6 + entry.byteLength;
          if (offset <= end) count += 1;
        }
        if (count < kept.length)
          await expect(openIt(kept.length)).rejects.toMatchObject({ code: "ERR_STORAGE_DAMAGED" });
        return kept.slice(0, count);
      }
    }),
    { numRuns: 40 },
  );
});

test("a full disk rejects what waits, keeps what is durable and is used again when there is room", async ({
  skip,
}) => {
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=512k", "tmpfs", folder.path]);
  skip(mounted.status !== 0, "needs the right to mount a tmpfs");
  try {
    await using lock = await openWriterLock(folder.path);
    const ballast = join(folder.path, "ballast");
    await writeFile(ballast, Buffer.alloc(200_000));
    await using journal = await openFileJournal(folder.path, lock, { segmentBytesMax: 100_000 });
    const kept: Buffer[] = [];
    let early: PromiseSettledResult<number> | undefined;
    let late: PromiseSettledResult<number> | undefined;
    while (early?.status !== "rejected") {
      const added = Array.from({ length: 21 }, (_, position) => numberedEntry(kept.length + position));
      const writing = journal.appendAll(added.slice(0, 20));
      // Two microtasks later the first batch is on its way, and no sooner than a turn later can it have failed.
      await Promise.resolve();
      await Promise.resolve();
      [early, late] = await Promise.allSettled([writing, journal.append(numberedEntry(kept.length + 20))]);
      if (early.status === "fulfilled") kept.push(...added.slice(0, late.status === "fulfilled" ? 21 : 20));
    }

    expect(early).toMatchObject({ reason: { code: "ERR_STORAGE_FULL" } });
    expect(late?.status === "rejected" && late.reason).toBe(early.reason);
    expect(journal.size).toBe(kept.length);
    expect(await entriesOf(journal)).toEqual(kept);

    await unlink(ballast);
    expect(await journal.append(numberedEntry(kept.length))).toBe(kept.length);
    await journal[Symbol.asyncDispose]();
    await using reopened = await openFileJournal(folder.path, lock);
    expect(reopened.tornBytes).toBe(0);
    expect(await entriesOf(reopened)).toEqual([...kept, numberedEntry(kept.length)]);
  } finally {
    spawnSync("umount", [folder.path]);
  }
});

test("takes nothing more once a failed write cannot be cut back, says so, and still reads", async ({
  skip,
}) => {
  await using journal = await openIt();
  await journal.appendAll(three);
  skip(spawnSync("chattr", ["+i", first()]).status !== 0, "needs a file system with immutable files");
  try {
    const refused = {
      code: "ERR_STORAGE_POISONED",
      message: expect.stringContaining("until it is reopened"),
    };
    await expect(journal.append(Buffer.from("entry 3"))).rejects.toMatchObject(refused);

    spawnSync("chattr", ["-i", first()]);
    await expect(journal.append(Buffer.from("entry 3"))).rejects.toMatchObject(refused);
    expect(await entriesOf(journal)).toEqual(three);
    await journal[Symbol.asyncDispose]();
    await using reopened = await openIt();
    expect(await reopened.append(Buffer.from("entry 3"))).toBe(3);
  } finally {
    spawnSync("chattr", ["-i", first()]);
  }
});
