import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";

/** Programs beyond this size have no hash; that of a large one takes some tenths of a second, once. */
const executableBytesMax = 512 * 1024 * 1024;
const hashesMax = 256;
/** Hashed at a time, so that callers with many programs do not keep the process busy with nothing else. */
const chunkBytes = 1024 * 1024;

/** The SHA-256 of programs, by what the file system says of the file; remembered until that changes. */
export class ExecutableHashes {
  readonly #hashes = new Map<string, Promise<string | undefined>>();

  /** The hash in lower-case hex of the program at `path` (one below /proc); undefined where it cannot be read whole. */
  async of(path: string): Promise<string | undefined> {
    try {
      await using file = await open(path, "r");
      const { dev, ino, size, mtimeNs, ctimeNs } = await file.stat({ bigint: true });
      if (size > executableBytesMax) return undefined;
      const name = [dev, ino, size, mtimeNs, ctimeNs].join(":");
      const known = this.#hashes.get(name);
      if (known !== undefined) return await known;
      const hashing = hashOf(file);
      this.#remember(name, hashing);
      return await hashing;
    } catch {
      return undefined;
    }
  }

  #remember(name: string, hashing: Promise<string | undefined>): void {
    this.#hashes.set(name, hashing);
    hashing.catch(() => this.#hashes.delete(name));
    const [oldest] = this.#hashes.keys();
    if (this.#hashes.size > hashesMax && oldest !== undefined) this.#hashes.delete(oldest);
  }
}

async function hashOf(file: FileHandle): Promise<string | undefined> {
  const hash = createHash("sha256");
  const chunk = Buffer.alloc(chunkBytes);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(chunk, 0, chunkBytes, length);
    if (bytesRead === 0) return hash.digest("hex");
    hash.update(chunk.subarray(0, bytesRead));
    length += bytesRead;
    if (length > executableBytesMax) return undefined;
  }
}
