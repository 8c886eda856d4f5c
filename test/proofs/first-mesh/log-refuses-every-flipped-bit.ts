import { setImmediate as breathe } from "node:timers/promises";
import {
  LogFollower,
  type LogStep,
  leafHash,
  MerkleTree,
  signCheckpoint,
} from "../../../src/trust-log/index.ts";
import { stoppedMesh } from "../../apparatus/stopped-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

const shortEntries = 24;

/**
 * A follower takes a real log entry by entry. Every step, its one entry and its checkpoint, is first offered once for
 * each of its bits with that bit turned over; every byte of a step is covered, so every single one must be refused.
 */
export const claim: Claim = {
  text: "a follower refuses every single-bit forgery of a step of the log (entry and checkpoint), and stays where it was",
  uses: [stoppedMesh],
  limitSeconds: 600,
  run: async ({ isFull }) => {
    const { domain, entries, logSigner } = await stoppedMesh.get();
    const follower = new LogFollower({ genesis: domain.genesis, logKey: logSigner });
    const tree = new MerkleTree();
    const covered = isFull ? entries : entries.slice(0, shortEntries);
    let bits = 0;
    let accepted = 0;
    for (const [firstIndex, entry] of covered.entries()) {
      tree.append(leafHash(entry));
      const checkpoint = signCheckpoint({ size: tree.size, root: tree.root() }, logSigner);
      const before = follower.state.digest();
      for (const forged of forgeries({ firstIndex, entries: [entry], checkpoint })) {
        bits += 1;
        if (follower.take(forged).ok) accepted += 1;
      }
      if (accepted > 0 || follower.state.digest() !== before || follower.size !== firstIndex)
        return failed(`entry ${firstIndex}: ${accepted} forgeries accepted, or the follower moved`);
      const taken = follower.take({ firstIndex, entries: [entry], checkpoint });
      if (!taken.ok) return failed(`the true step of entry ${firstIndex}: ${taken.reason} ${taken.detail}`);
      await breathe();
    }
    return ok(`${bits} bits in ${covered.length} steps, 0 accepted; the true steps were all taken`);
  },
};

function* forgeries(step: LogStep): Generator<LogStep> {
  for (const [place, entry] of step.entries.entries())
    for (const flipped of flips(entry)) yield { ...step, entries: step.entries.with(place, flipped) };
  for (const flipped of flips(step.checkpoint)) yield { ...step, checkpoint: flipped };
}

function* flips(bytes: Uint8Array): Generator<Uint8Array> {
  for (let bit = 0; bit < bytes.byteLength * 8; bit += 1)
    yield bytes.with(bit >> 3, (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7)));
}
