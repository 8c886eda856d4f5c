import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bytesOf } from "../base/bytes.ts";
import { type ConsistencyClaim, type InclusionClaim, isConsistent, isIncluded } from "./merkle-proof.ts";
import { emptyRoot, leafHash, MerkleTree, nodeHash } from "./merkle-tree.ts";

const sizeMax = 70;
const tree = new MerkleTree();
for (let index = 0; index < 200; index += 1) tree.append(leafHash(bytesOf(`entry ${index}`)));

function inclusion(index: number, size: number): [InclusionClaim, Uint8Array[]] {
  const claim = { leaf: tree.leaf(index), index, size, root: tree.root(size) };
  return [claim, tree.inclusionProof(index, size)];
}

function consistency(olderSize: number, newerSize: number): [ConsistencyClaim, Uint8Array[]] {
  const claim = { olderSize, newerSize, olderRoot: tree.root(olderSize), newerRoot: tree.root(newerSize) };
  return [claim, tree.consistencyProof(olderSize, newerSize)];
}

/** Every copy of `hash` with one bit turned over. */
function* bitFlips(hash: Uint8Array): Generator<Uint8Array> {
  for (let bit = 0; bit < hash.byteLength * 8; bit += 1)
    yield hash.map((byte, at) => (at === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
}

/** Every proof that differs from `proof` in one bit, in one hash, or in a hash too many or too few. */
function* otherProofs(proof: readonly Uint8Array[]): Generator<Uint8Array[]> {
  for (const [at, hash] of proof.entries()) {
    for (const flipped of bitFlips(hash)) yield proof.with(at, flipped);
    yield proof.toSpliced(at, 1);
    yield proof.toSpliced(at, 0, hash);
    yield proof.with(at, hash.slice(1));
    yield proof.with(at, new Uint8Array(64));
  }
  yield [...proof, new Uint8Array(32)];
  yield [new Uint8Array(32), ...proof];
}

const uncountable = [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53];

describe("isIncluded", () => {
  test(`accepts every entry of every tree up to ${sizeMax}`, () => {
    const refused = [];
    for (let size = 1; size <= sizeMax; size += 1)
      for (let index = 0; index < size; index += 1)
        if (!isIncluded(...inclusion(index, size))) refused.push([index, size]);

    expect(refused).toEqual([]);
  });

  test("refuses every other index and every other leaf in trees up to 20", () => {
    const accepted = [];
    for (let size = 1; size <= 20; size += 1)
      for (let index = 0; index < size; index += 1) {
        const [claim, proof] = inclusion(index, size);
        for (let other = 0; other < size; other += 1)
          if (
            other !== index &&
            (isIncluded({ ...claim, index: other }, proof) ||
              isIncluded({ ...claim, leaf: tree.leaf(other) }, proof))
          )
            accepted.push([index, other, size]);
      }

    expect(accepted).toEqual([]);
  });

  test.each([
    [0, 1],
    [5, 7],
    [6, 7],
    [7, 8],
    [8, 9],
  ])("refuses every forgery of the proof of entry %i of %i", (index, size) => {
    const [claim, proof] = inclusion(index, size);

    for (const leaf of bitFlips(claim.leaf)) expect(isIncluded({ ...claim, leaf }, proof)).toBe(false);
    for (const root of bitFlips(claim.root)) expect(isIncluded({ ...claim, root }, proof)).toBe(false);
    for (const other of otherProofs(proof)) expect(isIncluded(claim, other)).toBe(false);
    for (const wrong of [index - 1, index + 1, size, size + 1, ...uncountable])
      expect(isIncluded({ ...claim, index: wrong }, proof)).toBe(false);
    for (const wrong of [0, index, ...uncountable])
      expect(isIncluded({ ...claim, size: wrong }, proof)).toBe(false);
  });

  test("refuses an inner node in the place of a leaf", () => {
    const [claim, [, ...rest]] = inclusion(0, 8);
    const inner = nodeHash(tree.leaf(0), tree.leaf(1));

    expect(isIncluded({ ...claim, leaf: inner, size: 4 }, rest)).toBe(true);
    expect(isIncluded({ ...claim, leaf: inner }, rest)).toBe(false);
  });

  test("never accepts a proof for another entry", () => {
    fc.assert(
      fc.property(fc.nat(199), fc.nat(199), fc.integer({ min: 1, max: 200 }), (index, other, size) => {
        fc.pre(index < size && other < size && index !== other);
        const [claim] = inclusion(index, size);
        expect(isIncluded(claim, tree.inclusionProof(other, size))).toBe(false);
      }),
    );
  });
});

describe("isConsistent", () => {
  test(`accepts every step up to ${sizeMax}, the empty tree and standing still included`, () => {
    const refused = [];
    for (let newer = 0; newer <= sizeMax; newer += 1)
      for (let older = 0; older <= newer; older += 1)
        if (!isConsistent(...consistency(older, newer))) refused.push([older, newer]);

    expect(refused).toEqual([]);
  });

  test.each([
    [1, 2],
    [4, 7],
    [6, 8],
    [7, 8],
    [8, 9],
    [3, 3],
  ])("refuses every forgery of the step from %i to %i", (older, newer) => {
    const [claim, proof] = consistency(older, newer);

    for (const olderRoot of bitFlips(claim.olderRoot))
      expect(isConsistent({ ...claim, olderRoot }, proof)).toBe(false);
    for (const newerRoot of bitFlips(claim.newerRoot))
      expect(isConsistent({ ...claim, newerRoot }, proof)).toBe(false);
    for (const other of otherProofs(proof)) expect(isConsistent(claim, other)).toBe(false);
    for (const wrong of [older - 1, older + 1, newer + 1, ...uncountable])
      expect(isConsistent({ ...claim, olderSize: wrong }, proof)).toBe(false);
    for (const wrong of [older - 1, ...uncountable])
      expect(isConsistent({ ...claim, newerSize: wrong }, proof)).toBe(false);
  });

  test("refuses a tree that changed one old entry", () => {
    for (let changed = 0; changed < 10; changed += 1) {
      const fork = new MerkleTree();
      for (let index = 0; index < 16; index += 1)
        fork.append(index === changed ? leafHash(bytesOf("changed")) : tree.leaf(index));
      const claim = {
        olderSize: 10,
        olderRoot: tree.root(10),
        newerSize: 16,
        newerRoot: fork.root(),
      };

      expect(isConsistent(claim, fork.consistencyProof(10))).toBe(false);
      expect(isConsistent(claim, tree.consistencyProof(10, 16))).toBe(false);
    }
  });

  test("takes the empty tree for the beginning of every tree, under its own root and without a proof only", () => {
    const claim = { olderSize: 0, olderRoot: emptyRoot(), newerSize: 5, newerRoot: tree.root(5) };

    expect(isConsistent(claim, [])).toBe(true);
    expect(isConsistent(claim, [emptyRoot()])).toBe(false);
    expect(isConsistent({ ...claim, olderRoot: tree.root(1) }, [])).toBe(false);
  });
});

describe("sizes beyond memory", () => {
  test.each([
    [2 ** 31 - 1, 2 ** 31],
    [2 ** 31, 2 ** 31 + 1],
    [2 ** 32 + 5, 2 ** 32 + 11],
    [2 ** 47 + 12_345, 2 ** 48 + 3],
    [2 ** 48 - 1, 2 ** 48 + 1],
    [2 ** 52 + 1, Number.MAX_SAFE_INTEGER],
    [Number.MAX_SAFE_INTEGER - 1, Number.MAX_SAFE_INTEGER],
  ])("entry %i of %i is proved, and its neighbours are not in its place", (index, size) => {
    const huge = new HugeTree(BigInt(index));
    const claim = { leaf: huge.marked, index, size, root: huge.range(0n, BigInt(size)) };
    const proof = huge.inclusionProof(BigInt(size));

    expect(isIncluded(claim, proof)).toBe(true);
    expect(isIncluded({ ...claim, index: index - 1 }, proof)).toBe(false);
    expect(isIncluded({ ...claim, index: index - 2 ** 31 }, proof)).toBe(false);
    expect(isIncluded({ ...claim, leaf: huge.plain }, proof)).toBe(false);
    expect(isIncluded(claim, proof.slice(1))).toBe(false);
  });

  test.each([
    [2 ** 31 - 1, 2 ** 31],
    [2 ** 31, 2 ** 31 + 1],
    [7, 2 ** 32 + 11],
    [2 ** 48, 2 ** 48 + 3],
    [2 ** 48 - 1, 2 ** 49],
    [2 ** 52 + 1, Number.MAX_SAFE_INTEGER],
  ])("the step from %i to %i is proved, and a step from a tree without the mark is not", (older, newer) => {
    const huge = new HugeTree(BigInt(older) - 1n);
    const claim = {
      olderSize: older,
      olderRoot: huge.range(0n, BigInt(older)),
      newerSize: newer,
      newerRoot: huge.range(0n, BigInt(newer)),
    };
    const proof = huge.consistencyProof(BigInt(older), BigInt(newer));

    expect(isConsistent(claim, proof)).toBe(true);
    const unmarked = new HugeTree(BigInt(newer));
    expect(isConsistent({ ...claim, olderRoot: unmarked.range(0n, BigInt(older)) }, proof)).toBe(false);
    expect(isConsistent({ ...claim, olderSize: older - 1 }, proof)).toBe(false);
    expect(isConsistent(claim, proof.slice(0, -1))).toBe(false);
  });
});

/** A tree of any size by RFC 9162's recursive definitions on big integers: all leaves are equal but one. */
class HugeTree {
  readonly plain = leafHash(bytesOf("plain"));
  readonly marked = leafHash(bytesOf("marked"));
  readonly #mark: bigint;
  readonly #plainRanges = new Map<bigint, Uint8Array>();

  constructor(mark: bigint) {
    this.#mark = mark;
  }

  range(from: bigint, to: bigint): Uint8Array {
    const isPlain = this.#mark < from || this.#mark >= to;
    if (to - from === 1n) return isPlain ? this.plain : this.marked;
    const known = isPlain ? this.#plainRanges.get(to - from) : undefined;
    if (known !== undefined) return known;
    const middle = from + split(to - from);
    const hash = nodeHash(this.range(from, middle), this.range(middle, to));
    if (isPlain) this.#plainRanges.set(to - from, hash);
    return hash;
  }

  inclusionProof(size: bigint): Uint8Array[] {
    const path = (from: bigint, to: bigint): Uint8Array[] => {
      if (to - from === 1n) return [];
      const middle = from + split(to - from);
      return this.#mark < middle
        ? [...path(from, middle), this.range(middle, to)]
        : [...path(middle, to), this.range(from, middle)];
    };
    return path(0n, size);
  }

  consistencyProof(older: bigint, newer: bigint): Uint8Array[] {
    const step = (from: bigint, to: bigint): Uint8Array[] => {
      if (older === to) return from === 0n ? [] : [this.range(from, to)];
      const middle = from + split(to - from);
      return older <= middle
        ? [...step(from, middle), this.range(middle, to)]
        : [...step(middle, to), this.range(from, middle)];
    };
    return step(0n, newer);
  }
}

function split(size: bigint): bigint {
  let power = 1n;
  while (power * 2n < size) power *= 2n;
  return power;
}
