import { randomBytes, randomInt } from "node:crypto";
import { isConsistent, isIncluded, leafHash, MerkleTree } from "../../../src/trust-log/index.ts";
import { type Claim, failed, ok } from "../claim.ts";

const entries = 20_000;
const proofsOfEach = 5_000;

/** Every proof is also tried with one bit turned over, so that a check that accepts everything does not pass. */
export const claim: Claim = {
  text: "10,000 random inclusion and consistency proofs verify, and none of them after one bit of it or of its root was changed",
  run: async () => {
    const tree = new MerkleTree();
    for (let index = 0; index < entries; index += 1) tree.append(leafHash(randomBytes(48)));
    const wrong = { refused: 0, accepted: 0 };
    let hashes = 0;
    for (let round = 0; round < proofsOfEach; round += 1) {
      const size = randomInt(1, entries + 1);
      const index = randomInt(size);
      const root = tree.root(size);
      const included = { leaf: tree.leaf(index), index, size, root };
      const path = tree.inclusionProof(index, size);
      if (!isIncluded(included, path)) wrong.refused += 1;
      const [badPath, badRoot] = oneBitOff(path, root);
      if (isIncluded({ ...included, root: badRoot }, badPath)) wrong.accepted += 1;

      const olderSize = randomInt(1, size + 1);
      const consistent = { olderSize, olderRoot: tree.root(olderSize), newerSize: size, newerRoot: root };
      const step = tree.consistencyProof(olderSize, size);
      if (!isConsistent(consistent, step)) wrong.refused += 1;
      const [badStep, badNewer] = oneBitOff(step, root);
      if (isConsistent({ ...consistent, newerRoot: badNewer }, badStep)) wrong.accepted += 1;
      hashes += path.length + step.length;
    }
    if (wrong.refused + wrong.accepted > 0)
      return failed(`${wrong.refused} good proofs were refused, ${wrong.accepted} changed ones accepted`);
    return ok(
      `${2 * proofsOfEach} proofs (${hashes} hashes) over trees of up to ${entries} entries, ${2 * proofsOfEach} changed ones refused`,
    );
  },
};

/** One bit of the proof or of the root, drawn by lot, turned over. */
function oneBitOff(proof: readonly Uint8Array[], root: Uint8Array): [Uint8Array[], Uint8Array] {
  const all = [...proof, root];
  const which = randomInt(all.length);
  const changed = all.map((hash, place) => {
    if (place !== which) return hash;
    const bit = randomInt(hash.byteLength * 8);
    return hash.with(bit >> 3, (hash[bit >> 3] ?? 0) ^ (1 << (bit & 7)));
  });
  return [changed.slice(0, -1), changed.at(-1) ?? root];
}
