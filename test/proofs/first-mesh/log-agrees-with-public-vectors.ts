import { bytesOfHex, hexOf } from "../../../src/base/bytes.ts";
import { isConsistent, isIncluded, leafHash, MerkleTree } from "../../../src/trust-log/index.ts";
import {
  vectorConsistencies,
  vectorEntries,
  vectorInclusions,
  vectorRoots,
} from "../../apparatus/public-merkle-vectors.ts";
import { type Claim, failed, ok } from "../claim.ts";

/** What the rest of the world computes for the same entries. */
export const claim: Claim = {
  text: "the trust log's tree has the public RFC 6962 roots and proofs, and verifies them",
  run: async () => {
    const leaves = vectorEntries.map((entry) => leafHash(bytes(entry)));
    const tree = new MerkleTree();
    for (const leaf of leaves) tree.append(leaf);
    const wrong: string[] = [];
    for (const [size, root] of vectorRoots.entries())
      if (hexOf(tree.root(size)) !== root) wrong.push(`root at ${size}`);
    for (const { index, size, proof } of vectorInclusions) {
      const claimed = { leaf: leaves[index] ?? bytes(""), index, size, root: bytes(vectorRoots[size]) };
      if (!isIncluded(claimed, proof.map(bytes))) wrong.push(`entry ${index} of ${size} is not accepted`);
      if (tree.inclusionProof(index, size).map(hexOf).join() !== proof.join())
        wrong.push(`another proof of entry ${index} of ${size}`);
    }
    for (const { older, newer, proof } of vectorConsistencies) {
      const claimed = {
        olderSize: older,
        newerSize: newer,
        olderRoot: bytes(vectorRoots[older]),
        newerRoot: bytes(vectorRoots[newer]),
      };
      if (!isConsistent(claimed, proof.map(bytes))) wrong.push(`${older} to ${newer} is not accepted`);
      if (tree.consistencyProof(older, newer).map(hexOf).join() !== proof.join())
        wrong.push(`another proof from ${older} to ${newer}`);
    }
    if (wrong.length > 0) return failed(wrong.join(", "));
    return ok(
      `${vectorRoots.length} roots, ${vectorInclusions.length} inclusion and ${vectorConsistencies.length} consistency proofs`,
    );
  },
};

function bytes(hexadecimal = "?"): Uint8Array {
  const value = bytesOfHex(hexadecimal);
  if (value === undefined) throw new Error(`${hexadecimal} is not hexadecimal`);
  return value;
}
