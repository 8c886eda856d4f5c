import { chmod, chown, mkdir, readdir, stat, symlink, truncate } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type TemporaryFolder, temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { openFileKeyStore } from "./file-key-store.ts";
import type { KeyStore } from "./key-store.ts";

let parent: TemporaryFolder;
let folder: string;
let store: KeyStore;

const key = new Uint8Array([1, 2, 3]);
const exposed = (message: RegExp) => ({
  code: "ERR_STORAGE_KEY_EXPOSED",
  message: expect.stringMatching(message),
});

beforeEach(async () => {
  parent = await temporaryFolder();
  folder = join(parent.path, "keys");
  store = await openFileKeyStore(folder);
  await store.save("log-key", key);
});

afterEach(async () => {
  await parent[Symbol.asyncDispose]();
});

test("keeps keys in files of mode 0600 in a folder of mode 0700", async () => {
  await store.loadOrCreate("other", () => key);

  expect((await stat(folder)).mode & 0o777).toBe(0o700);
  for (const name of ["log-key", "other"]) expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600);
  expect(await readdir(folder)).toEqual(["log-key", "other"]);
  expect(await (await openFileKeyStore(folder)).load("log-key")).toEqual(key);
});

test.each([0o640, 0o604, 0o620, 0o602, 0o610, 0o601])(
  "refuses a key file of mode %o and says what repairs it: ERR_STORAGE_KEY_EXPOSED",
  async (mode) => {
    await chmod(join(folder, "log-key"), mode);

    const refusal = exposed(new RegExp(`mode ${mode.toString(8)}.* chmod 600 .*/keys/log-key`));
    await expect(store.load("log-key")).rejects.toMatchObject(refusal);
    await expect(store.loadOrCreate("log-key", () => key)).rejects.toMatchObject(refusal);

    await chmod(join(folder, "log-key"), 0o600);
    expect(await store.load("log-key")).toEqual(key);
  },
);

test.each([0o750, 0o705, 0o701, 0o710, 0o770])(
  "refuses a folder of mode %o for every use: ERR_STORAGE_KEY_EXPOSED",
  async (mode) => {
    await chmod(folder, mode);

    const refusal = exposed(new RegExp(`mode ${mode.toString(8)}.* chmod 700 .*/keys$`));
    await expect(store.load("log-key")).rejects.toMatchObject(refusal);
    await expect(store.save("log-key", key)).rejects.toMatchObject(refusal);
    await expect(store.loadOrCreate("new", () => key)).rejects.toMatchObject(refusal);
    await expect(openFileKeyStore(folder)).rejects.toMatchObject(refusal);
    expect(await readdir(folder)).toEqual(["log-key"]);
  },
);

test("refuses what belongs to another user: ERR_STORAGE_KEY_EXPOSED", async ({ skip }) => {
  skip(process.geteuid?.() !== 0, "needs the right to give files away");

  await chown(join(folder, "log-key"), 12_345, 0);
  await expect(store.load("log-key")).rejects.toMatchObject(exposed(/log-key belongs to user 12345/));

  await chown(folder, 12_345, 0);
  await expect(store.load("other")).rejects.toMatchObject(exposed(/keys belongs to user 12345/));
});

test("refuses a symbolic link: ERR_STORAGE_KEY_EXPOSED", async () => {
  await symlink("log-key", join(folder, "alias"));

  await expect(store.load("alias")).rejects.toMatchObject(exposed(/symbolic link/));
});

test("refuses what is no file: ERR_STORAGE_KEY_EXPOSED", async () => {
  await mkdir(join(folder, "nested"), { mode: 0o700 });

  await expect(store.load("nested")).rejects.toMatchObject(exposed(/no file/));
});

test.each([0, 65_537])("refuses a key file of %d bytes: ERR_STORAGE_KEY_SIZE", async (byteLength) => {
  await truncate(join(folder, "log-key"), byteLength);

  await expect(store.load("log-key")).rejects.toMatchObject({ code: "ERR_STORAGE_KEY_SIZE" });
});
