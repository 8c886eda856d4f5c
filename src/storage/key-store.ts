/**
 * Where secret keys live: files, memory, later KMS and PKCS#11. A name is 1 to 64 of `a`–`z`, `0`–`9` and `-`
 * (`ERR_STORAGE_KEY_NAME` otherwise), a key 1 to 65 536 bytes (`ERR_STORAGE_KEY_SIZE`). What is returned is a copy
 * that the caller may wipe.
 */
export interface KeyStore {
  /** The key of that name, or undefined. */
  load(name: string): Promise<Uint8Array | undefined>;
  /** Stores a key durably, in place of an earlier one. */
  save(name: string, key: Uint8Array): Promise<void>;
  /** Forgets the key of that name durably, if there is one. */
  remove(name: string): Promise<void>;
  /** The key of that name; where there is none, what `create` makes, stored. Who calls at once gets the same key. */
  loadOrCreate(name: string, create: () => Uint8Array | Promise<Uint8Array>): Promise<Uint8Array>;
}
