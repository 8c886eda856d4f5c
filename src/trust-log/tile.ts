import { concatBytes } from "../base/bytes.ts";
import { hashBytes, type MerkleTree } from "./merkle-tree.ts";

/** How many hashes or entries a full tile holds (C2SP tlog-tiles). */
export const tileWidth = 256;

const tileHeight = 8;

/** A file of the published log: its path below the log's address, and what is in it. */
export interface TileFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** The path of hash tile `index` at `level`; `width` under 256 makes it a partial one. */
export function tilePath(level: number, index: number, width: number = tileWidth): string {
  return `tile/${level}/${pathNumber(index)}${partial(width)}`;
}

/** The path of entry bundle `index`; `width` under 256 makes it a partial one. */
export function entryBundlePath(index: number, width: number = tileWidth): string {
  return `tile/entries/${pathNumber(index)}${partial(width)}`;
}

/** The bytes of an entry bundle: every entry behind its length. Throws a RangeError on an entry over 65 535 bytes. */
export function entryBundle(entries: readonly Uint8Array[]): Uint8Array {
  if (entries.some((entry) => entry.byteLength > 0xffff)) throw new RangeError("an entry over 65535 bytes");
  return concatBytes(
    ...entries.flatMap((entry) => [Uint8Array.of(entry.byteLength >> 8, entry.byteLength & 0xff), entry]),
  );
}

/** The entries in a bundle; one that is cut off or runs over the end is left out, with all after it. */
export function entriesOfBundle(bundle: Uint8Array): Uint8Array[] {
  const entries: Uint8Array[] = [];
  for (let at = 0; at + 2 <= bundle.byteLength; ) {
    const end = at + 2 + (((bundle[at] ?? 0) << 8) | (bundle[at + 1] ?? 0));
    if (end > bundle.byteLength) break;
    entries.push(bundle.slice(at + 2, end));
    at = end;
  }
  return entries;
}

/** The hash tiles that a tree of `to` entries has and that one of `from` entries had not, partial ones included. */
export function newHashTiles(tree: MerkleTree, from: number, to: number): TileFile[] {
  const files: TileFile[] = [];
  for (let level = 0, span = 1; span <= to; level += 1, span *= tileWidth) {
    const before = Math.floor(from / span);
    const after = Math.floor(to / span);
    for (let index = Math.floor(before / tileWidth); index * tileWidth < after; index += 1) {
      const width = Math.min(tileWidth, after - index * tileWidth);
      if (index * tileWidth + width > before)
        files.push({ path: tilePath(level, index, width), bytes: hashTile(tree, level, index, width) });
    }
  }
  return files;
}

/** The ranges of entries that the bundles of a tree of `to` entries hold and those of one of `from` entries did not. */
export function newEntryBundles(from: number, to: number): { path: string; from: number; to: number }[] {
  const ranges = [];
  for (let index = Math.floor(from / tileWidth); index * tileWidth < to; index += 1) {
    const start = index * tileWidth;
    const end = Math.min(start + tileWidth, to);
    if (end > from) ranges.push({ path: entryBundlePath(index, end - start), from: start, to: end });
  }
  return ranges;
}

function hashTile(tree: MerkleTree, level: number, index: number, width: number): Uint8Array {
  const hashes = new Uint8Array(width * hashBytes);
  for (let column = 0; column < width; column += 1)
    hashes.set(tree.subtree(level * tileHeight, index * tileWidth + column), column * hashBytes);
  return hashes;
}

function partial(width: number): string {
  return width === tileWidth ? "" : `.p/${width}`;
}

/** 1234067 is written x001/x234/067. */
function pathNumber(index: number): string {
  const groups = [];
  for (let rest = index; ; rest = Math.floor(rest / 1000)) {
    groups.unshift(String(rest % 1000).padStart(3, "0"));
    if (rest < 1000) break;
  }
  return groups.map((group, place) => (place === groups.length - 1 ? group : `x${group}`)).join("/");
}
