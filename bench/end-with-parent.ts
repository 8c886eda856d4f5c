import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { killMarked } from "../test/apparatus/marked-processes.ts";

/**
 * Watches over a run from a process of its own: when standard input ends because the run has ended, however it did, it
 * kills what is left under the mark and removes the run's folder. Arguments: mark, folder.
 */
export function startWatchdog(mark: string, folder: string): Disposable {
  const child = spawn(process.execPath, [import.meta.filename, mark, folder], {
    stdio: ["pipe", "ignore", "inherit"],
    // Not in the group that Ctrl-C goes to: it is needed afterwards.
    detached: true,
  });
  child.unref();
  return { [Symbol.dispose]: () => child.stdin.end() };
}

if (process.argv[1] === import.meta.filename) {
  const [, , mark, folder] = process.argv;
  process.stdin.resume();
  process.stdin.once("end", () => {
    if (mark === undefined || folder === undefined || mark === "" || folder === "") return;
    killMarked(mark);
    rmSync(folder, { recursive: true, force: true });
  });
}
