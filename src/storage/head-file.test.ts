import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type TemporaryFolder, temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { openHead } from "./head-file.ts";
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

const root = (value: number) => new Uint8Array(32).fill(value);

test("there is none at first", async () => {
  expect((await openHead(folder.path, lock)).current).toBeUndefined();
});

test("is on disk when advance resolves, and found again by the next writer", async () => {
  const head = await openHead(folder.path, lock);

  await head.advance({ size: 5, root: root(5) });

  expect(head.current).toEqual({ term: 1, size: 5, root: root(5) });
  expect(await readFile(join(folder.path, "head.json"), "utf8")).toBe(
    `{"root":"${"05".repeat(32)}","size":5,"term":1}`,
  );
  await lock[Symbol.asyncDispose]();
  lock = await openWriterLock(folder.path);
  const again = await openHead(folder.path, lock);
  expect(again.current).toEqual({ term: 1, size: 5, root: root(5) });
  await again.advance({ size: 5, root: root(5) });
  expect(again.current).toEqual({ term: 2, size: 5, root: root(5) });
});

test.each([
  { what: "a smaller size", next: { size: 4, root: root(4) } },
  { what: "the same size with another root", next: { size: 5, root: root(6) } },
])("does not go to $what: ERR_STORAGE_HEAD_CONFLICT", async ({ next }) => {
  const head = await openHead(folder.path, lock);
  await head.advance({ size: 5, root: root(5) });

  await expect(head.advance(next)).rejects.toMatchObject({ code: "ERR_STORAGE_HEAD_CONFLICT" });

  expect(head.current).toEqual({ term: 1, size: 5, root: root(5) });
  await head.advance({ size: 6, root: root(6) });
  expect((await openHead(folder.path, lock)).current?.size).toBe(6);
});

test("does not go behind what it has resolved, even where the file was put back", async () => {
  const head = await openHead(folder.path, lock);
  await head.advance({ size: 5, root: root(5) });
  const earlier = await readFile(join(folder.path, "head.json"));
  await head.advance({ size: 9, root: root(9) });

  await writeFile(join(folder.path, "head.json"), earlier);

  await expect(head.advance({ size: 7, root: root(7) })).rejects.toMatchObject({
    code: "ERR_STORAGE_HEAD_CONFLICT",
  });
});

test("advances in the order of calls, and past one that failed", async () => {
  const head = await openHead(folder.path, lock);

  const outcomes = await Promise.allSettled([
    head.advance({ size: 2, root: root(2) }),
    head.advance({ size: 1, root: root(1) }),
    head.advance({ size: 3, root: root(3) }),
  ]);

  expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(head.current?.size).toBe(3);
});

test("takes nothing from a writer whose lock is over: ERR_STORAGE_FENCED", async () => {
  const head = await openHead(folder.path, lock);
  await head.advance({ size: 1, root: root(1) });
  await lock[Symbol.asyncDispose]();
  await using successor = await openWriterLock(folder.path);
  const before = await readFile(join(folder.path, "head.json"), "utf8");

  await expect(head.advance({ size: 2, root: root(2) })).rejects.toMatchObject({
    code: "ERR_STORAGE_FENCED",
  });

  await successor.assertHeld();
  expect(await readFile(join(folder.path, "head.json"), "utf8")).toBe(before);
});

test("takes nothing from a writer whose term is behind the file's: ERR_STORAGE_FENCED", async () => {
  const head = await openHead(folder.path, lock);
  await writeFile(join(folder.path, "head.json"), `{"root":"00","size":1,"term":2}`);

  await expect(head.advance({ size: 2, root: root(2) })).rejects.toMatchObject({
    code: "ERR_STORAGE_FENCED",
  });
  await expect(openHead(folder.path, lock)).rejects.toMatchObject({ code: "ERR_STORAGE_FENCED" });
});

test("does not resolve when a successor came while it was written: ERR_STORAGE_FENCED", async () => {
  let asked = 0;
  const overtaken: WriterLock = {
    ...lock,
    async assertHeld() {
      asked += 1;
      if (asked === 3) await lock[Symbol.asyncDispose]();
      await lock.assertHeld();
    },
  };
  const head = await openHead(folder.path, overtaken);

  await expect(head.advance({ size: 1, root: root(1) })).rejects.toMatchObject({
    code: "ERR_STORAGE_FENCED",
  });

  expect(head.current).toBeUndefined();
});

test.each([
  "",
  "{}",
  `{"root":"0","size":1,"term":1}`,
  `{"root":"00","size":-1,"term":1}`,
  `{"size":1,"term":1}`,
])("refuses a file that is no head, %j: ERR_STORAGE_DAMAGED", async (text) => {
  await writeFile(join(folder.path, "head.json"), text);

  await expect(openHead(folder.path, lock)).rejects.toMatchObject({ code: "ERR_STORAGE_DAMAGED" });
});
