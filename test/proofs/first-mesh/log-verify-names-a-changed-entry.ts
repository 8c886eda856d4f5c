import { join } from "node:path";
import { meshDirectory } from "../../../src/cli/mesh-directory.ts";
import { changeByteOfEntry, doesName, entryPlaces, verifyLog } from "../../apparatus/damaged-log.ts";
import { type StoppedMesh, stoppedMesh } from "../../apparatus/stopped-mesh.ts";
import { type Claim, failed, ok } from "../claim.ts";

const shortStep = 8;

/** One copy of the log per experiment: a byte of one entry changed by a disk, or by somebody who mends the checksum. */
export const claim: Claim = {
  text: "after one byte of one entry is changed on disk, troth log verify fails and names that entry, even where the frame's checksum was mended",
  uses: [stoppedMesh],
  run: async ({ isFull }) => {
    const mesh = await stoppedMesh.get();
    const last = mesh.entries.length - 1;
    const unnamed: string[] = [];
    let tried = 0;
    // The first and the last are where off-by-ones live; in between every so many.
    for (
      let index = 0;
      index <= last;
      index = index === last ? last + 1 : Math.min(last, index + step(isFull))
    )
      for (const mendsChecksum of [false, true]) {
        tried += 1;
        const problem = await change(mesh, index, mendsChecksum);
        if (problem !== undefined) unnamed.push(problem);
      }
    const figure = `${tried} changes in entries 0 to ${last}, ${tried - unnamed.length} failed and named the entry`;
    return unnamed.length === 0 ? ok(figure) : failed(`${figure}; ${unnamed.slice(0, 3).join("; ")}`);
  },
};

function step(isFull: boolean): number {
  return isFull ? 1 : shortStep;
}

async function change(mesh: StoppedMesh, index: number, mendsChecksum: boolean): Promise<string | undefined> {
  await using copy = await mesh.copy();
  const places = await entryPlaces(join(meshDirectory(copy.path).controlPlaneLog, "segments"));
  const place = places[index];
  if (place === undefined) return `entry ${index} is not in the journal`;
  await changeByteOfEntry(place, mendsChecksum);
  const verdict = await verifyLog(copy.path);
  if (doesName(verdict, index)) return undefined;
  return `entry ${index}, checksum ${mendsChecksum ? "mended" : "left"}: ${verdict.code} ${verdict.problems.join(", ")}`;
}
