import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { bytesOf } from "../base/bytes.ts";
import { openLogFiles } from "./log-files.ts";

const segment = "segments/000000000000.seg";
const headBytes =
  /head\.json is no head of a log; restore .*, or remove .*head\.json and .*troth log recover --from/;
const entries =
  /000000000000\.seg.*; restore .*, or bring the log back from a copy: troth log recover --from/;

test.each([
  ["head.json", "cut", (bytes: Buffer) => bytes.subarray(0, 20), headBytes],
  ["head.json", "empty", () => Buffer.alloc(0), headBytes],
  [segment, "cut", (bytes: Buffer) => bytes.subarray(0, 20), entries],
  [segment, "empty", () => Buffer.alloc(0), entries],
  [segment, "zero-filled", (bytes: Buffer) => Buffer.alloc(bytes.byteLength), entries],
] as const)(
  "%s, %s, is named with the remedy, and the good one put back opens",
  async (file, _how, damage, said) => {
    await using folder = await temporaryFolder();
    {
      await using files = await openLogFiles(folder.path);
      await files.journal.appendAll([bytesOf("first"), bytesOf("second")]);
      await files.head.advance({ size: 2, root: new Uint8Array(32) });
    }
    const path = join(folder.path, file);
    const good = await readFile(path);
    const damaged = damage(good);
    await writeFile(path, damaged);

    await expect(openLogFiles(folder.path)).rejects.toMatchObject({
      code: "ERR_STORAGE_DAMAGED",
      message: expect.stringMatching(said),
    });

    expect((await readFile(path)).equals(damaged)).toBe(true);
    await writeFile(path, good);
    await using files = await openLogFiles(folder.path);
    expect(files.journal.size).toBe(2);
  },
);
