import { base64Of, bytesOf, concatBytes } from "../base/bytes.ts";
import { canonicalJson, type JsonObject } from "../base/canonical-json.ts";
import { sha256 } from "../crypto/index.ts";

const bucketCount = 256;
const emptyBucket = new Uint8Array(32);

/** Rows whose keys' hashes begin with the same byte: their digests by key, and the one over all of them. */
interface Bucket {
  readonly digests: Map<string, Uint8Array>;
  digest: Uint8Array | undefined;
}

/**
 * One table of the public state: rows by key, and a digest over all of them that costs in proportion to what changed
 * since the last one, and a change next to nothing. Digest: SHA-256 over 256 bucket digests; a row is in the bucket named
 * by the first byte of SHA-256(key); a bucket's digest is SHA-256 over its rows' digests in the order of their keys
 * (32 zero bytes where it is empty); a row's digest is SHA-256 of the canonical JSON of `[table, key, row]`.
 */
export class StateTable<Row extends JsonObject> {
  readonly name: string;
  readonly #rows = new Map<string, Row>();
  readonly #buckets: readonly Bucket[];
  /** Keys of rows that were set or deleted since the last digest. */
  readonly #changed = new Set<string>();
  #digest: string | undefined;

  constructor(name: string) {
    this.name = name;
    this.#buckets = Array.from({ length: bucketCount }, () => ({
      digests: new Map<string, Uint8Array>(),
      digest: emptyBucket,
    }));
  }

  get size(): number {
    return this.#rows.size;
  }

  get(key: string): Row | undefined {
    return this.#rows.get(key);
  }

  has(key: string): boolean {
    return this.#rows.has(key);
  }

  entries(): IterableIterator<[string, Row]> {
    return this.#rows.entries();
  }

  set(key: string, row: Row): void {
    this.#rows.set(key, row);
    this.#changed.add(key);
  }

  delete(key: string): boolean {
    if (!this.#rows.delete(key)) return false;
    this.#changed.add(key);
    return true;
  }

  /** Takes over all rows of another table. */
  putAll(other: StateTable<Row>): void {
    for (const [key, row] of other.entries()) this.set(key, row);
  }

  /** The digest of all rows, in base64. */
  digest(): string {
    if (this.#changed.size > 0 || this.#digest === undefined) {
      for (const key of this.#changed) this.#digestRow(key);
      this.#changed.clear();
      const digests = this.#buckets.map((bucket) => (bucket.digest ??= digestOf(bucket.digests)));
      this.#digest = base64Of(sha256(concatBytes(...digests)));
    }
    return this.#digest;
  }

  #digestRow(key: string): void {
    const bucket = this.#buckets[sha256(bytesOf(key))[0] ?? 0];
    if (bucket === undefined) throw new RangeError("no such bucket");
    const row = this.#rows.get(key);
    if (row === undefined) bucket.digests.delete(key);
    else bucket.digests.set(key, sha256(bytesOf(canonicalJson([this.name, key, row]))));
    bucket.digest = undefined;
  }
}

function digestOf(digests: ReadonlyMap<string, Uint8Array>): Uint8Array {
  if (digests.size === 0) return emptyBucket;
  const inOrder = [...digests].sort(([left], [right]) => (left < right ? -1 : 1));
  return sha256(concatBytes(...inOrder.map(([, digest]) => digest)));
}
