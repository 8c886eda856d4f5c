import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bytesOf, concatBytes } from "../base/bytes.ts";
import { hashBytes, leafHash, MerkleTree, nodeHash } from "./merkle-tree.ts";
import {
  entriesOfBundle,
  entryBundle,
  entryBundlePath,
  newEntryBundles,
  newHashTiles,
  tilePath,
  tileWidth,
} from "./tile.ts";

const entryAt = (index: number): Uint8Array => bytesOf(`entry ${index}`);
const tree = new MerkleTree();
for (let index = 0; index < 70_000; index += 1) tree.append(leafHash(entryAt(index)));

describe("paths", () => {
  test.each([
    [0, "000"],
    [7, "007"],
    [999, "999"],
    [1000, "x001/000"],
    [70_000, "x070/000"],
    [1_234_067, "x001/x234/067"],
    [2 ** 45, "x035/x184/x372/x088/832"],
  ])("tile %i is at %s", (index, path) => {
    expect(tilePath(3, index)).toBe(`tile/3/${path}`);
    expect(tilePath(0, index, 1)).toBe(`tile/0/${path}.p/1`);
    expect(entryBundlePath(index)).toBe(`tile/entries/${path}`);
    expect(entryBundlePath(index, 255)).toBe(`tile/entries/${path}.p/255`);
  });
});

describe("newHashTiles", () => {
  test("a log of 70 000 entries has 273 full tiles and one of 112, then 1 full and one of 17, then one of 1", () => {
    const paths = newHashTiles(tree, 0, 70_000).map(({ path }) => path);

    expect(paths).toHaveLength(273 + 1 + 1 + 1 + 1);
    expect(paths.slice(0, 273)).toEqual(Array.from({ length: 273 }, (_, index) => tilePath(0, index)));
    expect(paths.slice(273)).toEqual(["tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]);
  });

  test.each([
    [0, 0, []],
    [0, 1, ["tile/0/000.p/1"]],
    [5, 5, []],
    [255, 256, ["tile/0/000", "tile/1/000.p/1"]],
    [256, 257, ["tile/0/001.p/1"]],
    [256, 512, ["tile/0/001", "tile/1/000.p/2"]],
    [300, 301, ["tile/0/001.p/45"]],
    [65_535, 65_536, ["tile/0/255", "tile/1/000", "tile/2/000.p/1"]],
  ])("from %i to %i entries writes %j", (from, to, paths) => {
    expect(newHashTiles(tree, from, to).map(({ path }) => path)).toEqual(paths);
  });

  test.each([1, 255, 256, 257, 4097, 65_536, 70_000])(
    "recomputed from the tiles alone, the root of %i entries is the tree's",
    (size) => {
      const files = new Map(newHashTiles(tree, 0, size).map(({ path, bytes }) => [path, bytes]));

      expect(rootFromTiles(files, size)).toEqual(tree.root(size));
    },
  );

  test("each tile's hash stands in the tile above it", () => {
    const files = new Map(newHashTiles(tree, 0, 70_000).map(({ path, bytes }) => [path, bytes]));
    const above = files.get("tile/1/000") ?? new Uint8Array(0);

    for (let index = 0; index < tileWidth; index += 1) {
      const tile = files.get(tilePath(0, index)) ?? new Uint8Array(0);
      expect(merged(hashesOf(tile))).toEqual(above.slice(index * hashBytes, (index + 1) * hashBytes));
    }
  });

  test("whatever the steps, the files written make up the same log, and none is written twice", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(700), { minLength: 1, maxLength: 5 }), (steps) => {
        const files = new Map<string, Uint8Array>();
        let size = 0;
        for (const step of steps) {
          for (const { path, bytes } of newHashTiles(tree, size, size + step)) {
            expect(files.has(path)).toBe(false);
            files.set(path, bytes);
          }
          size += step;
        }
        if (size > 0) expect(rootFromTiles(files, size)).toEqual(tree.root(size));
      }),
      { numRuns: 20 },
    );
  });
});

describe("entry bundles", () => {
  test("put every entry behind its length, big end first", () => {
    const long = new Uint8Array(0x1234).fill(7);

    expect(entryBundle([bytesOf("ab"), new Uint8Array(0), long])).toEqual(
      concatBytes(Uint8Array.of(0, 2), bytesOf("ab"), Uint8Array.of(0, 0), Uint8Array.of(0x12, 0x34), long),
    );
    expect(entryBundle([new Uint8Array(0xffff)]).slice(0, 2)).toEqual(Uint8Array.of(0xff, 0xff));
  });

  test("do not hold entries whose length has no place", () => {
    expect(() => entryBundle([new Uint8Array(0x10000)])).toThrow(RangeError);
  });

  test.each([
    [0, 0, []],
    [3, 3, []],
    [0, 3, [["tile/entries/000.p/3", 0, 3]]],
    [
      250,
      600,
      [
        ["tile/entries/000", 0, 256],
        ["tile/entries/001", 256, 512],
        ["tile/entries/002.p/88", 512, 600],
      ],
    ],
    [256, 512, [["tile/entries/001", 256, 512]]],
  ])("of the entries %i to %i are %j", (from, to, bundles) => {
    expect(newEntryBundles(from, to)).toEqual(bundles.map(([path, from, to]) => ({ path, from, to })));
  });
});

function hashesOf(tile: Uint8Array): Uint8Array[] {
  return Array.from({ length: tile.byteLength / hashBytes }, (_, at) =>
    tile.slice(at * hashBytes, (at + 1) * hashBytes),
  );
}

/** RFC 6962's tree hash over hashes. */
function merged(hashes: readonly Uint8Array[]): Uint8Array {
  const [only = new Uint8Array(0)] = hashes;
  if (hashes.length <= 1) return only;
  let split = 1;
  while (split * 2 < hashes.length) split *= 2;
  return nodeHash(merged(hashes.slice(0, split)), merged(hashes.slice(split)));
}

/** The root by way of the partial tile of every level, lowest first: each is the right edge below the next. */
function rootFromTiles(files: ReadonlyMap<string, Uint8Array>, size: number): Uint8Array {
  let below: Uint8Array | undefined;
  for (let level = 0, count = size; count > 0; level += 1, count = Math.floor(count / tileWidth)) {
    const width = count % tileWidth;
    const isTop = count < tileWidth;
    const tile =
      width === 0 ? new Uint8Array(0) : files.get(tilePath(level, Math.floor(count / tileWidth), width));
    if (tile === undefined) throw new Error(`no tile at level ${level}`);
    const hashes = hashesOf(tile);
    below =
      hashes.length === 0 && below === undefined
        ? undefined
        : merged(below === undefined ? hashes : [...hashesOf(tile), below]);
    if (isTop) break;
  }
  return below ?? new Uint8Array(0);
}

describe("entriesOfBundle", () => {
  test("gives back what entryBundle was given", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), (entries) => {
        expect(entriesOfBundle(entryBundle(entries))).toEqual(entries.map((entry) => new Uint8Array(entry)));
      }),
    );
  });

  test("leaves out an entry that is cut off, and takes any bytes", () => {
    const bundle = entryBundle([bytesOf("first"), bytesOf("second")]);

    expect(entriesOfBundle(bundle.slice(0, -1))).toEqual([bytesOf("first")]);
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(Array.isArray(entriesOfBundle(bytes))).toBe(true);
      }),
    );
  });
});
