import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { type KeyStore, openMemoryKeyStore } from "../storage/index.ts";
import { keyPeriodsPerRoot, RequestTokenRoots } from "./request-token-roots.ts";

/** The first key period of a root. */
const first = 680 * keyPeriodsPerRoot;

function rootsIn(keyStore: KeyStore): RequestTokenRoots {
  return new RequestTokenRoots({ keyStore, randomBytes });
}

async function rootOf(keyStore: KeyStore, keyPeriod: number): Promise<string> {
  const lookUp = await rootsIn(keyStore).rootsFor(keyPeriod, keyPeriod);
  return lookUp(keyPeriod).export().toString("hex");
}

it("has one root key for thirty days, from one period's boundary to another's", async () => {
  const keyStore = openMemoryKeyStore();
  const last = first + keyPeriodsPerRoot - 1;

  expect(await rootOf(keyStore, first)).toBe(await rootOf(keyStore, last));
  expect(await rootOf(keyStore, last + 1)).not.toBe(await rootOf(keyStore, last));
  expect(await rootOf(keyStore, first)).toMatch(/^[0-9a-f]{64}$/);
});

it("answers for periods on both sides of a boundary at once", async () => {
  const keyStore = openMemoryKeyStore();
  const lookUp = await rootsIn(keyStore).rootsFor(first - 1, first);

  expect(lookUp(first - 1).equals(lookUp(first))).toBe(false);
  expect(() => lookUp(first - keyPeriodsPerRoot - 1)).toThrow("no root key");
});

it("gives all who share a key store the same keys", async () => {
  const keyStore = openMemoryKeyStore();

  expect(await rootOf(keyStore, first)).toBe(await rootOf(keyStore, first));
  expect(await rootOf(openMemoryKeyStore(), first)).not.toBe(await rootOf(keyStore, first));
});

it("destroys a root key when the second one after it is made, and no other", async () => {
  const keyStore = openMemoryKeyStore();
  await keyStore.save("other", Uint8Array.of(1));
  const roots = rootsIn(keyStore);
  for (const number of [0, 1, 2]) {
    const period = first + number * keyPeriodsPerRoot;
    await roots.rootsFor(period, period);
  }

  expect(await keyStore.load("request-token-root-680")).toBeUndefined();
  expect(await keyStore.load("request-token-root-681")).toHaveLength(32);
  expect(await keyStore.load("request-token-root-682")).toHaveLength(32);
  expect(await keyStore.load("other")).toHaveLength(1);
});

it("takes no damaged root key", async () => {
  const keyStore = openMemoryKeyStore();
  await keyStore.save("request-token-root-680", new Uint8Array(31));

  await expect(rootsIn(keyStore).rootsFor(first, first)).rejects.toMatchObject({
    code: "ERR_CONTROL_PLANE_KEY",
  });
});
