import type { Command } from "commander";
import { directoryOf, output, wholeNumber } from "./options.ts";

/** The trust log: `log …`. */
export function addLogCommands(program: Command): void {
  const log = program.command("log").description("the trust log");
  log
    .command("verify")
    .description("prove the whole history offline, from the files alone")
    .addOption(output())
    .action(async (options) =>
      (await import("../commands/verify-log.ts")).verifyLog({ ...options, dir: directoryOf(program) }),
    );
  log
    .command("recover")
    .description(
      "bring back a log whose disk went back, or take one up again after a fork; see docs/guides/recovery.md",
    )
    .option("--from <folder>", "an agent's folder, or published tiles, that has more of the log")
    .option("--size <entries>", "begin a new generation after this many entries", wholeNumber)
    .option("--new-log-key", "with --size: under a new key of the log, as after a theft of the old one")
    .option("--sign <file>", "add this directory's signature to a recovery that waits for more")
    .option("--apply <file>", "begin the generation that a file with enough signatures describes")
    .addOption(output())
    .action(async (options) =>
      (await import("../commands/recover-log.ts")).recoverLog({ ...options, dir: directoryOf(program) }),
    );
}
