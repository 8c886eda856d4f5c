// Appends as fast as it can to the journal in the folder of its first argument; writes each acknowledged index, as
// four bytes, to standard output. Ends by being killed, or after ten seconds should nobody do that.
import { writeSync } from "node:fs";
import { openFileJournal, openWriterLock } from "../../../src/storage/index.ts";
import { numberedEntry } from "./numbered-entry.ts";

const [, , folder = ""] = process.argv;
await using lock = await openWriterLock(folder);
await using journal = await openFileJournal(folder, lock);
const end = performance.now() + 10_000;
let next = journal.size;

await Promise.all(Array.from({ length: 2_000 }, appendOn));

async function appendOn(): Promise<void> {
  while (performance.now() < end) {
    const acknowledged = await journal.append(numberedEntry(next++));
    const report = Buffer.alloc(4);
    report.writeUInt32BE(acknowledged);
    writeSync(1, report);
  }
}
