import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "../src/base/mesh-error.ts";
import { killMarked, newMark } from "../test/apparatus/marked-processes.ts";
import { repository } from "./checkout.ts";
import { startWatchdog } from "./end-with-parent.ts";
import { whatIsMissing } from "./machine.ts";
import { type BenchOptions, benchUsage, parseBenchOptions } from "./options.ts";
import { runBench } from "./run-bench.ts";
import { runProfile } from "./run-profile.ts";

/** `npm run bench`: exit code 0 when everything was measured, 1 when something failed, 2 for a wrong call, 130 when stopped. */
process.exitCode = await main();

async function main(): Promise<number> {
  const options = parseBenchOptions(process.argv.slice(2));
  if (!options.ok) {
    process.stderr.write(`${options.detail}\n\n${benchUsage}`);
    return 2;
  }
  if (options.value.help) {
    process.stdout.write(benchUsage);
    return 0;
  }
  const missing = whatIsMissing();
  if (missing !== undefined) {
    process.stderr.write(`${missing}\n`);
    return 2;
  }
  return runToItsEnd(options.value);
}

/** Whatever happens, nothing that was started stays. */
async function runToItsEnd(options: BenchOptions): Promise<number> {
  const stopping = new AbortController();
  const stop = (): void => {
    if (!stopping.signal.aborted) process.stderr.write("\nstopping\n");
    stopping.abort(new Error("stopped"));
    killMarked();
  };
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, stop);
  process.once("disconnect", stop);
  process.channel?.unref();
  const folder = mkdtempSync(join(tmpdir(), "troth-bench-"));
  using _ = startWatchdog(newMark().split(".")[0] ?? "", folder);
  try {
    const run = { options, folder, stopped: stopping.signal, repository };
    return options.profile ? await runProfile(run) : await runBench(run);
  } catch (error) {
    if (stopping.signal.aborted) return 130;
    process.stderr.write(`${messageOf(error)}\n`);
    return 1;
  } finally {
    killMarked();
    rmSync(folder, { recursive: true, force: true });
  }
}
