import { existsSync } from "node:fs";
import { mkdir, readdir, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type TemporaryFolder, temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { createFileAtomically, makeFolder, readFileIfPresent, writeFileAtomically } from "./atomic-file.ts";

let folder: TemporaryFolder;

beforeEach(async () => {
  folder = await temporaryFolder();
});

afterEach(async () => {
  await folder[Symbol.asyncDispose]();
});

const bytes = new Uint8Array([1, 2, 3]);
const other = new Uint8Array([4]);

test("a file that is not there reads as undefined, one that cannot be read throws", async () => {
  expect(await readFileIfPresent(join(folder.path, "none"))).toBeUndefined();
  await expect(readFileIfPresent(folder.path)).rejects.toMatchObject({ code: "EISDIR" });
});

test("writing creates, replaces, sets the mode and leaves nothing beside", async () => {
  const path = join(folder.path, "file");
  await writeFile(path, "a longer text than the new one", { mode: 0o600 });

  await writeFileAtomically(path, bytes, 0o666);

  expect(await readFileIfPresent(path)).toEqual(bytes);
  expect((await stat(path)).mode & 0o777).toBe(0o666);
  expect(await readdir(folder.path)).toEqual(["file"]);
});

test("writing replaces a symbolic link, not what it points to", async () => {
  await writeFile(join(folder.path, "target"), other);
  await symlink("target", join(folder.path, "link"));

  await writeFileAtomically(join(folder.path, "link"), bytes, 0o600);

  expect(await readFileIfPresent(join(folder.path, "target"))).toEqual(other);
});

test("a failed write leaves nothing beside", async () => {
  await mkdir(join(folder.path, "in-the-way"));

  await expect(writeFileAtomically(join(folder.path, "in-the-way"), bytes, 0o600)).rejects.toMatchObject({
    code: "EISDIR",
  });

  expect(await readdir(folder.path)).toEqual(["in-the-way"]);
});

test("writing passes over what a crash of a process with the same number left", async () => {
  const path = join(folder.path, "file");
  for (let count = 0; count < 100; count += 1) await writeFile(`${path}.${process.pid}-${count}.tmp`, "left");

  await writeFileAtomically(path, bytes, 0o600);

  expect(await readFileIfPresent(path)).toEqual(bytes);
});

test("of many that create at once one succeeds, and its bytes are there", async () => {
  const path = join(folder.path, "file");

  const created = await Promise.all(
    Array.from({ length: 8 }, (_, index) => createFileAtomically(path, new Uint8Array([index]), 0o600)),
  );

  expect(created.filter(Boolean)).toHaveLength(1);
  expect(await readFileIfPresent(path)).toEqual(new Uint8Array([created.indexOf(true)]));
  expect(await readdir(folder.path)).toEqual(["file"]);
});

test("a folder is made with those above it, private, and left alone when it is there", async () => {
  const path = join(folder.path, "a", "b");

  await makeFolder(path);
  await makeFolder(path);

  expect((await stat(path)).mode & 0o777).toBe(0o700);
});

test.skipIf(!existsSync("/proc/self"))(
  "a folder where the file system takes none is refused at once",
  async () => {
    await expect(makeFolder("/proc/one/below/another")).rejects.toMatchObject({ code: "ENOENT" });
  },
);

test("a folder whose place a file has is refused, at any depth", async () => {
  const file = join(folder.path, "file");
  await writeFile(file, "");

  await expect(makeFolder(file)).rejects.toMatchObject({ code: "EEXIST" });
  await expect(makeFolder(join(file, "below"))).rejects.toMatchObject({ code: "EEXIST" });
});

test("two processes may make the same folder", async () => {
  const path = join(folder.path, "a", "b", "c");

  await Promise.all([makeFolder(path), makeFolder(path), makeFolder(path)]);

  expect((await stat(path)).isDirectory()).toBe(true);
});
