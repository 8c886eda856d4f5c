import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { vectorEntries, vectorRoots } from "../../test/apparatus/public-merkle-vectors.ts";
import { bytesOf, bytesOfHex, hexOf } from "../base/bytes.ts";
import { sha256 } from "../crypto/index.ts";
import { emptyRoot, Frontier, leafHash, MerkleTree } from "./merkle-tree.ts";

/** RFC 6962 §2.1 word for word, on its own arithmetic. */
function definedRoot(leaves: readonly Uint8Array[]): Uint8Array {
  const [only] = leaves;
  if (only === undefined) return sha256(new Uint8Array(0));
  if (leaves.length === 1) return only;
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  const left = definedRoot(leaves.slice(0, split));
  return sha256(Uint8Array.of(1), left, definedRoot(leaves.slice(split)));
}

function treeOf(leaves: readonly Uint8Array[]): MerkleTree {
  const tree = new MerkleTree();
  for (const leaf of leaves) tree.append(leaf);
  return tree;
}

function numberedLeaves(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, index) => leafHash(bytesOf(`entry ${index}`)));
}

const publicLeaves = vectorEntries.map((text) => leafHash(bytesOfHex(text) ?? bytesOf("not hexadecimal")));
const publicRoots = vectorRoots;

describe("MerkleTree", () => {
  test.each(publicRoots.entries().toArray())("has the public root at size %i", (size, root) => {
    expect(hexOf(treeOf(publicLeaves.slice(0, size)).root())).toBe(root);
    expect(hexOf(treeOf(publicLeaves).root(size))).toBe(root);
  });

  test("proves inclusion and consistency with the public proofs", () => {
    const tree = treeOf(publicLeaves);

    expect(tree.inclusionProof(0).map(hexOf)).toEqual([
      "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
      "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
      "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]);
    expect(tree.inclusionProof(6, 7).map(hexOf)).toEqual([
      "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
      publicRoots[4],
    ]);
    expect(tree.consistencyProof(6).map(hexOf)).toEqual([
      "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
      "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
      publicRoots[4],
    ]);
  });

  test("has the defined root at every size up to 130, and remembers those of all smaller sizes", () => {
    const leaves = numberedLeaves(130);
    const tree = treeOf(leaves);

    for (let size = 0; size <= leaves.length; size += 1)
      expect(tree.root(size)).toEqual(definedRoot(leaves.slice(0, size)));
  });

  test("keeps leaves and complete subtrees where it says", () => {
    const leaves = numberedLeaves(21);
    const tree = treeOf(leaves);

    expect(tree.leaf(20)).toEqual(leaves[20]);
    expect(tree.subtree(3, 1)).toEqual(definedRoot(leaves.slice(8, 16)));
    expect(() => tree.subtree(3, 2)).toThrow(RangeError);
    expect(() => tree.leaf(21)).toThrow(RangeError);
  });

  test("hands out hashes that can be changed without changing the tree", () => {
    const tree = treeOf(numberedLeaves(5));
    const before = tree.root();

    tree.leaf(0).fill(0);
    tree.inclusionProof(3).forEach((hash) => hash.fill(0));

    expect(tree.root()).toEqual(before);
  });

  test.each([
    ["an entry after the last", (tree: MerkleTree) => tree.inclusionProof(3)],
    ["an entry before the first", (tree: MerkleTree) => tree.inclusionProof(-1)],
    ["a size after the last", (tree: MerkleTree) => tree.inclusionProof(0, 4)],
    ["a step backwards", (tree: MerkleTree) => tree.consistencyProof(3, 2)],
    ["a step beyond the end", (tree: MerkleTree) => tree.consistencyProof(2, 4)],
    ["an edge beyond the end", (tree: MerkleTree) => tree.frontier(4)],
  ])("proves nothing about %s", (_, prove) => {
    expect(() => prove(treeOf(numberedLeaves(3)))).toThrow(RangeError);
  });
});

describe("Frontier", () => {
  test("has the size and root of the tree at every size up to 130, and so has the tree's own edge", () => {
    const leaves = numberedLeaves(130);
    const tree = treeOf(leaves);
    const frontier = new Frontier();

    for (const [index, leaf] of leaves.entries()) {
      expect(frontier.root()).toEqual(tree.root(index));
      expect(tree.frontier(index).hashes).toEqual(frontier.hashes);
      frontier.append(leaf);
      expect(frontier.size).toBe(index + 1);
    }
  });

  test("goes on from wherever it was written down", () => {
    fc.assert(
      fc.property(fc.nat(300), fc.nat(60), (first, then) => {
        const leaves = numberedLeaves(first + then);
        const tree = treeOf(leaves);
        const resumed = Frontier.resume(first, tree.frontier(first).hashes);

        for (const leaf of leaves.slice(first)) resumed?.append(leaf);

        expect(resumed?.root()).toEqual(tree.root());
      }),
      { numRuns: 30 },
    );
  });

  test("is not changed by appending to its copy", () => {
    const frontier = treeOf(numberedLeaves(7)).frontier();
    const before = frontier.root();

    frontier.clone().append(leafHash(bytesOf("more")));

    expect(frontier.size).toBe(7);
    expect(frontier.root()).toEqual(before);
  });

  test("appends past 2^32 and 2^52 entries", () => {
    for (const size of [2 ** 32 - 1, 2 ** 32, 2 ** 52 - 1]) {
      const hashes = numberedLeaves(size.toString(2).replaceAll("0", "").length);
      const frontier = Frontier.resume(size, hashes);
      const expected = definedEdge(size, hashes, leafHash(bytesOf("next")));

      frontier?.append(leafHash(bytesOf("next")));

      expect(frontier?.size).toBe(size + 1);
      expect(frontier?.hashes).toEqual(expected);
    }
  });

  test.each([
    ["a negative size", -1, 0],
    ["a fraction", 1.5, 1],
    ["a size that is no safe integer", 2 ** 53, 1],
    ["no number", Number.NaN, 0],
    ["a hash too few", 3, 1],
    ["a hash too many", 4, 2],
  ])("does not resume from %s", (_, size, count) => {
    expect(Frontier.resume(size, numberedLeaves(count))).toBeUndefined();
  });

  test("does not resume from a hash of another length", () => {
    expect(Frontier.resume(1, [new Uint8Array(31)])).toBeUndefined();
  });
});

test("the empty tree has the hash of nothing as its root", () => {
  expect(new Frontier().root()).toEqual(emptyRoot());
  expect(new MerkleTree().root()).toEqual(sha256(new Uint8Array(0)));
});

/** The edge after one more entry, on big integers: every trailing one bit of the size merges once. */
function definedEdge(size: number, hashes: readonly Uint8Array[], next: Uint8Array): Uint8Array[] {
  const edge = [...hashes];
  let merged = next;
  for (let rest = BigInt(size); (rest & 1n) === 1n; rest >>= 1n)
    merged = sha256(Uint8Array.of(1), edge.pop() ?? merged, merged);
  return [...edge, merged];
}
