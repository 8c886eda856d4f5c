import { concatBytes } from "../base/bytes.ts";
import { sha256 } from "../crypto/index.ts";

/** Length of every hash in the tree, in bytes. */
export const hashBytes = 32;

const leafPrefix = Uint8Array.of(0x00);
const nodePrefix = Uint8Array.of(0x01);

/** The hash of an entry's stored bytes (RFC 6962 §2.1). */
export function leafHash(entry: Uint8Array): Uint8Array {
  return sha256(leafPrefix, entry);
}

/** The hash of an inner node (RFC 6962 §2.1). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(nodePrefix, left, right);
}

/** The root of the tree without entries. */
export function emptyRoot(): Uint8Array {
  return sha256(new Uint8Array(0));
}

/**
 * The right edge of a tree: one hash per complete subtree, largest first. It is all one needs to keep in order to
 * append and to know the root.
 */
export class Frontier {
  #size = 0;
  readonly #hashes: Uint8Array[] = [];

  /** Takes up the edge of a tree of `size` entries; undefined where the number of hashes does not fit the size. */
  static resume(size: number, hashes: readonly Uint8Array[]): Frontier | undefined {
    if (!Number.isSafeInteger(size) || size < 0 || hashes.length !== completeSubtrees(size)) return undefined;
    if (hashes.some((hash) => hash.byteLength !== hashBytes)) return undefined;
    const frontier = new Frontier();
    frontier.#size = size;
    frontier.#hashes.push(...hashes);
    return frontier;
  }

  /** How many entries the tree has. */
  get size(): number {
    return this.#size;
  }

  /** The hashes of the complete subtrees, largest first. */
  get hashes(): readonly Uint8Array[] {
    return this.#hashes;
  }

  /** Adds the hash of the next entry. */
  append(hash: Uint8Array): void {
    let merged = hash;
    for (let rest = this.#size; rest % 2 === 1; rest = (rest - 1) / 2)
      merged = nodeHash(this.#hashes.pop() ?? merged, merged);
    this.#hashes.push(merged);
    this.#size += 1;
  }

  /** The Merkle tree hash of all entries so far. */
  root(): Uint8Array {
    const last = this.#hashes.at(-1);
    if (last === undefined) return emptyRoot();
    return this.#hashes.slice(0, -1).reduceRight((right, left) => nodeHash(left, right), last);
  }

  /** An independent copy. */
  clone(): Frontier {
    const copy = new Frontier();
    copy.#size = this.#size;
    copy.#hashes.push(...this.#hashes);
    return copy;
  }
}

/**
 * A whole tree in memory (64 bytes an entry), which can prove that an entry is in it and that an older tree is its
 * beginning.
 */
export class MerkleTree {
  /** Level 0 holds leaf hashes; level n holds the hashes of complete subtrees of 2^n leaves. */
  readonly #levels: HashColumn[] = [new HashColumn()];

  /** How many entries the tree has. */
  get size(): number {
    return this.#column(0).length;
  }

  /** Adds the hash of the next entry. */
  append(hash: Uint8Array): void {
    this.#column(0).push(hash);
    for (let level = 0; this.#column(level).length % 2 === 0; level += 1) {
      const column = this.#column(level);
      this.#column(level + 1).push(nodeHash(column.at(column.length - 2), column.at(column.length - 1)));
    }
  }

  /** The hash of the entry at `index`. */
  leaf(index: number): Uint8Array {
    return this.#column(0).at(index);
  }

  /** The hash of the complete subtree number `index` of 2^`level` leaves. */
  subtree(level: number, index: number): Uint8Array {
    return this.#column(level).at(index);
  }

  /** The root that the tree had when it had `size` entries. */
  root(size = this.size): Uint8Array {
    return size === 0 ? emptyRoot() : this.#range(0, size);
  }

  /** The right edge that the tree had when it had `size` entries. */
  frontier(size = this.size): Frontier {
    const hashes: Uint8Array[] = [];
    let from = 0;
    for (let level = 52; level >= 0; level -= 1) {
      const width = 2 ** level;
      if (Math.floor(size / width) % 2 === 0) continue;
      hashes.push(this.#column(level).at(from / width));
      from += width;
    }
    const frontier = Frontier.resume(size, hashes);
    if (frontier === undefined) throw new RangeError(`no tree of size ${size}`);
    return frontier;
  }

  /** RFC 9162 §2.1.3.1: the path from entry `index` to the root of the first `size` entries. */
  inclusionProof(index: number, size = this.size): Uint8Array[] {
    if (index < 0 || index >= size || size > this.size) throw new RangeError(`no entry ${index} in ${size}`);
    return this.#path(index, 0, size);
  }

  /** RFC 9162 §2.1.4.1: proof that the first `older` entries are the beginning of the first `newer`. */
  consistencyProof(older: number, newer = this.size): Uint8Array[] {
    if (older < 0 || older > newer || newer > this.size)
      throw new RangeError(`no step from ${older} to ${newer}`);
    return older === 0 || older === newer ? [] : this.#subproof(older, 0, newer);
  }

  #path(index: number, from: number, to: number): Uint8Array[] {
    if (to - from === 1) return [];
    const middle = from + splitPoint(to - from);
    return index < middle
      ? [...this.#path(index, from, middle), this.#range(middle, to)]
      : [...this.#path(index, middle, to), this.#range(from, middle)];
  }

  #subproof(older: number, from: number, to: number): Uint8Array[] {
    if (older === to) return from === 0 ? [] : [this.#range(from, to)];
    const middle = from + splitPoint(to - from);
    return older <= middle
      ? [...this.#subproof(older, from, middle), this.#range(middle, to)]
      : [...this.#subproof(older, middle, to), this.#range(from, middle)];
  }

  /** The hash over entries from..to, where `from` is a multiple of the subtree's width. */
  #range(from: number, to: number): Uint8Array {
    const width = to - from;
    const level = Math.log2(width);
    if (Number.isInteger(level)) return this.#column(level).at(from / width);
    const middle = from + splitPoint(width);
    return nodeHash(this.#range(from, middle), this.#range(middle, to));
  }

  #column(level: number): HashColumn {
    let column = this.#levels[level];
    if (column === undefined) {
      column = new HashColumn();
      this.#levels[level] = column;
    }
    return column;
  }
}

/** A growing row of hashes in one buffer. */
class HashColumn {
  length = 0;
  #bytes: Uint8Array = new Uint8Array(64 * hashBytes);

  push(hash: Uint8Array): void {
    if ((this.length + 1) * hashBytes > this.#bytes.byteLength)
      this.#bytes = concatBytes(this.#bytes, new Uint8Array(this.#bytes.byteLength));
    this.#bytes.set(hash, this.length * hashBytes);
    this.length += 1;
  }

  at(index: number): Uint8Array {
    if (index < 0 || index >= this.length) throw new RangeError(`no hash ${index} of ${this.length}`);
    return this.#bytes.slice(index * hashBytes, (index + 1) * hashBytes);
  }
}

/** The largest power of two smaller than `size`. */
function splitPoint(size: number): number {
  return 2 ** Math.floor(Math.log2(size - 1));
}

function completeSubtrees(size: number): number {
  let count = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) count += rest % 2;
  return count;
}
