import type { Command } from "commander";
import { directoryOf, help, output } from "./options.ts";

/** What attackers would do: `attack`. */
export function addAttackCommands(program: Command): void {
  program
    .command("attack")
    .description("attack the running demo and see what comes of it")
    .argument("<name>", "an attack, or all")
    .addOption(output())
    .addHelpText(
      "after",
      help(
        [["troth attack all", ""]],
        [
          [0, "every attack was stopped"],
          [1, "one succeeded"],
        ],
      ),
    )
    .action(async (name: string, options) =>
      (await import("../commands/attack.ts")).attack(name, { ...options, dir: directoryOf(program) }),
    );
}
