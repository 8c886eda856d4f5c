import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { openFileKeyStore, openMemoryKeyStore } from "../../src/storage/index.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const folders: AsyncDisposable[] = [];

afterEach(async () => {
  for (const folder of folders.splice(0)) await folder[Symbol.asyncDispose]();
});

async function newFolder(): Promise<string> {
  const folder = await temporaryFolder();
  folders.push(folder);
  return join(folder.path, "keys");
}

describe.each([
  { kind: "file", openStore: async () => openFileKeyStore(await newFolder()) },
  { kind: "memory", openStore: async () => openMemoryKeyStore() },
])("a $kind key store", ({ openStore }) => {
  const key = new Uint8Array([1, 2, 3]);

  test("has no key at first", async () => {
    const store = await openStore();

    expect(await store.load("log-key")).toBeUndefined();
  });

  test("returns what was saved last", async () => {
    const store = await openStore();

    await store.save("log-key", new Uint8Array([9]));
    await store.save("log-key", key);

    expect(await store.load("log-key")).toEqual(key);
    expect(await store.load("other")).toBeUndefined();
  });

  test("hands out copies and keeps one", async () => {
    const store = await openStore();
    const given = new Uint8Array(key);
    await store.save("log-key", given);

    given.fill(0);
    (await store.load("log-key"))?.fill(0);

    expect(await store.load("log-key")).toEqual(key);
  });

  test("forgets a key, and can make another of that name", async () => {
    const store = await openStore();
    await store.save("log-key", key);
    await store.save("other", key);

    await store.remove("log-key");
    await store.remove("never-there");

    expect(await store.load("log-key")).toBeUndefined();
    expect(await store.load("other")).toEqual(key);
    expect(await store.loadOrCreate("log-key", () => new Uint8Array([9]))).toEqual(new Uint8Array([9]));
  });

  test("creates a key once", async () => {
    const store = await openStore();

    const first = await store.loadOrCreate("log-key", () => key);
    const second = await store.loadOrCreate("log-key", () => new Uint8Array([9]));

    expect(first).toEqual(key);
    expect(second).toEqual(key);
  });

  test("gives all who create at once the same key", async () => {
    const store = await openStore();

    const made = await Promise.all(
      Array.from({ length: 8 }, (_, position) =>
        store.loadOrCreate("log-key", async () => new Uint8Array([position])),
      ),
    );

    expect(new Set(made.map(String)).size).toBe(1);
    expect(await store.load("log-key")).toEqual(made[0]);
  });

  test.each(["", "a".repeat(65), "Log", "../log", "log.key", "log_key", "log/key", "log\n"])(
    "refuses the name %j: ERR_STORAGE_KEY_NAME",
    async (name) => {
      const store = await openStore();

      const expected = { code: "ERR_STORAGE_KEY_NAME" };
      await expect(store.load(name)).rejects.toMatchObject(expected);
      await expect(store.save(name, key)).rejects.toMatchObject(expected);
      await expect(store.loadOrCreate(name, () => key)).rejects.toMatchObject(expected);
    },
  );

  test.each([0, 65_537])("refuses a key of %d bytes: ERR_STORAGE_KEY_SIZE", async (byteLength) => {
    const store = await openStore();
    const unfit = new Uint8Array(byteLength);

    const expected = { code: "ERR_STORAGE_KEY_SIZE" };
    await expect(store.save("log-key", unfit)).rejects.toMatchObject(expected);
    await expect(store.loadOrCreate("log-key", () => unfit)).rejects.toMatchObject(expected);
    expect(await store.load("log-key")).toBeUndefined();
  });
});
