import type { KeyStore } from "./key-store.ts";
import { storageFault } from "./storage-fault.ts";

/** A key store that ends with its process, for tests. */
export function openMemoryKeyStore(): KeyStore {
  const keys = new Map<string, Uint8Array>();

  return {
    async load(name) {
      assertKeyName(name);
      const key = keys.get(name);
      return key && new Uint8Array(key);
    },
    async save(name, key) {
      assertKeyName(name);
      assertKeySize(name, key.byteLength);
      keys.set(name, new Uint8Array(key));
    },
    async remove(name) {
      assertKeyName(name);
      keys.delete(name);
    },
    async loadOrCreate(name, create) {
      assertKeyName(name);
      if (!keys.has(name)) {
        const made = await create();
        assertKeySize(name, made.byteLength);
        if (!keys.has(name)) keys.set(name, new Uint8Array(made));
      }
      return new Uint8Array(keys.get(name) ?? []);
    },
  };
}

/** The longest key a store takes. */
export const keyBytesMax = 65_536;

/** Throws `ERR_STORAGE_KEY_NAME` unless a name can be a key's. */
export function assertKeyName(name: string): void {
  if (!/^[a-z0-9-]{1,64}$/.test(name))
    throw storageFault("ERR_STORAGE_KEY_NAME", "a key's name is 1 to 64 of a-z, 0-9 and -");
}

/** Throws `ERR_STORAGE_KEY_SIZE` unless a key has a length that a store takes. */
export function assertKeySize(name: string, byteLength: number): void {
  if (byteLength < 1 || byteLength > keyBytesMax)
    throw storageFault(
      "ERR_STORAGE_KEY_SIZE",
      `key ${name} has ${byteLength} bytes instead of 1 to ${keyBytesMax}`,
    );
}
