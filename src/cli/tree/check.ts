import { type Command, Option } from "commander";
import { directoryOf, wholeNumber } from "./options.ts";

/** Whether all is well: `check`. */
export function addCheckCommand(program: Command): void {
  program
    .command("check")
    .description("is this mesh healthy, and if not, what to do")
    .addOption(
      new Option("-o, --output <format>", "table, json, or short: only what is not well")
        .choices(["table", "json", "short"])
        .default("table"),
    )
    .option("--pre", "look whether a mesh can be started here, before the first start", false)
    .option("--proxy <name>", "look at the proxies of one service, or at one instance")
    .option("--wait <seconds>", "check again until all is well, so long at most", wholeNumber, 0)
    .action(async (options) =>
      (await import("../commands/check.ts")).check({ ...options, dir: directoryOf(program) }),
    );
}
