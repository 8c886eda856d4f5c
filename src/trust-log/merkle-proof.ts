import { sameBytes } from "../base/bytes.ts";
import { emptyRoot, hashBytes, nodeHash } from "./merkle-tree.ts";

/** What an inclusion proof claims: that the entry with this leaf hash is number `index` of `size`. */
export interface InclusionClaim {
  readonly leaf: Uint8Array;
  readonly index: number;
  readonly size: number;
  readonly root: Uint8Array;
}

/** What a consistency proof claims: that the older tree is the beginning of the newer one. */
export interface ConsistencyClaim {
  readonly olderSize: number;
  readonly olderRoot: Uint8Array;
  readonly newerSize: number;
  readonly newerRoot: Uint8Array;
}

/** RFC 9162 §2.1.3.2. Plain arithmetic instead of shifts, since sizes may pass 2^31. */
export function isIncluded(claim: InclusionClaim, proof: readonly Uint8Array[]): boolean {
  if (!isCount(claim.index) || !isCount(claim.size) || claim.index >= claim.size || !areHashes(proof))
    return false;
  let node = claim.index;
  let last = claim.size - 1;
  let hash = claim.leaf;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      hash = nodeHash(sibling, hash);
      while (node % 2 === 0 && node !== 0) {
        node /= 2;
        last = Math.floor(last / 2);
      }
    } else hash = nodeHash(hash, sibling);
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && sameBytes(hash, claim.root);
}

/** RFC 9162 §2.1.4.2, with the cases that it leaves to the caller: equal sizes and an empty older tree. */
export function isConsistent(claim: ConsistencyClaim, proof: readonly Uint8Array[]): boolean {
  const { olderSize, newerSize, olderRoot, newerRoot } = claim;
  if (!isCount(olderSize) || !isCount(newerSize) || olderSize > newerSize || !areHashes(proof)) return false;
  if (olderSize === newerSize) return proof.length === 0 && sameBytes(olderRoot, newerRoot);
  if (olderSize === 0) return proof.length === 0 && sameBytes(olderRoot, emptyRoot());

  const path = isPowerOfTwo(olderSize) ? [olderRoot, ...proof] : proof;
  const [first, ...rest] = path;
  if (first === undefined) return false;
  let node = olderSize - 1;
  let last = newerSize - 1;
  while (node % 2 === 1) {
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  let older = first;
  let newer = first;
  for (const sibling of rest) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      older = nodeHash(sibling, older);
      newer = nodeHash(sibling, newer);
      while (node % 2 === 0 && node !== 0) {
        node /= 2;
        last = Math.floor(last / 2);
      }
    } else newer = nodeHash(newer, sibling);
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && sameBytes(older, olderRoot) && sameBytes(newer, newerRoot);
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function areHashes(proof: readonly Uint8Array[]): boolean {
  return proof.every((hash) => hash.byteLength === hashBytes);
}

function isPowerOfTwo(value: number): boolean {
  let rest = value;
  while (rest % 2 === 0 && rest > 1) rest /= 2;
  return rest === 1;
}
