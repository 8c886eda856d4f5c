import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { numberedEntry } from "../../test/contracts/storage-processes/numbered-entry.ts";
import { temporaryFolder } from "../../test/contracts/temporary-folder.ts";
import { openFileJournal } from "./file-journal.ts";
import { openWriterLock } from "./writer-lock.ts";

const child = new URL("../../test/contracts/storage-processes/append-until-killed.ts", import.meta.url);

test("a process killed in mid-write loses nothing that it had acknowledged", async () => {
  await using folder = await temporaryFolder();
  let checked = 0;

  for (const millis of [5, 15, 30, 50, 80]) {
    const acknowledged = await appendAndKill(folder.path, millis);

    await using lock = await openWriterLock(folder.path);
    await using journal = await openFileJournal(folder.path, lock, { durableSizeMin: acknowledged + 1 });
    for await (const entry of journal.read(checked, journal.size)) {
      expect(Buffer.compare(entry, numberedEntry(checked)), `entry ${checked}`).toBe(0);
      checked += 1;
    }
    expect(checked).toBeGreaterThan(acknowledged);
  }
});

/** The highest index that the killed process had acknowledged. */
async function appendAndKill(folder: string, millis: number): Promise<number> {
  const writer = spawn(process.execPath, [child.pathname, folder], { stdio: ["ignore", "pipe", "inherit"] });
  const reports: Buffer[] = [];
  writer.stdout.on("data", (chunk: Buffer) => reports.push(chunk));
  const closed = once(writer, "close");
  await once(writer.stdout, "readable");
  writer.stdout.resume();
  await sleep(millis);
  writer.kill("SIGKILL");
  await closed;
  const report = Buffer.concat(reports);
  expect(report.byteLength).toBeGreaterThan(0);
  let highest = -1;
  for (let at = 0; at + 4 <= report.byteLength; at += 4) highest = Math.max(highest, report.readUInt32BE(at));
  return highest;
}
