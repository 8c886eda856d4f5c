import { randomInt } from "node:crypto";
import { join } from "node:path";
import { meshDirectory } from "../../../src/cli/mesh-directory.ts";
import { entryBundlePath, hashBytes, tilePath, tileWidth } from "../../../src/trust-log/index.ts";
import { changeByteOfFile, doesName, verifyLog } from "../../apparatus/damaged-log.ts";
import { type StoppedMesh, stoppedMesh } from "../../apparatus/stopped-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

const changesOfEach = 5;

/** The published copy is what the rest of the world reads, so a change there counts as one of the history. */
export const claim: Claim = {
  text: "after one byte of one entry is changed in the published copy (hash tile or entry bundle), troth log verify fails and names that entry",
  uses: [stoppedMesh],
  run: async () => {
    const mesh = await stoppedMesh.get();
    const unnamed: string[] = [];
    for (let round = 0; round < changesOfEach; round += 1)
      for (const what of ["hash tile", "entry bundle"] as const) {
        const problem = await change(mesh, what, randomInt(mesh.entries.length));
        if (problem !== undefined) unnamed.push(problem);
      }
    const tried = 2 * changesOfEach;
    const figure = `${tried} changes, ${tried - unnamed.length} failed and named the entry`;
    return unnamed.length === 0 ? ok(figure) : failed(`${figure}; ${unnamed.slice(0, 3).join("; ")}`);
  },
};

async function change(
  mesh: StoppedMesh,
  what: "hash tile" | "entry bundle",
  index: number,
): Promise<string | undefined> {
  await using copy = await mesh.copy();
  const { tiles } = meshDirectory(copy.path);
  const tile = Math.floor(index / tileWidth);
  const width = Math.min(tileWidth, mesh.entries.length - tile * tileWidth);
  if (what === "hash tile") {
    const at = (index % tileWidth) * hashBytes + randomInt(hashBytes);
    await changeByteOfFile(join(tiles, tilePath(0, tile, width)), at);
  } else {
    const before = mesh.entries.slice(tile * tileWidth, index);
    const start = before.reduce((sum, entry) => sum + 2 + entry.byteLength, 2);
    const length = mesh.entries[index]?.byteLength ?? 1;
    await changeByteOfFile(join(tiles, entryBundlePath(tile, width)), start + randomInt(length));
  }
  const verdict = await verifyLog(copy.path);
  if (doesName(verdict, index)) return undefined;
  const said = verdict.verified ? "verified" : verdict.problems.join(", ");
  return `a byte of entry ${index} in its ${what}: ${said}`;
}
