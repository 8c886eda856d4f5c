import type { Command } from "commander";
import { directoryOf, output } from "./options.ts";

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
}
