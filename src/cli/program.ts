import { Command } from "commander";
import { addAttackCommands } from "./tree/attack.ts";
import { addCheckCommand } from "./tree/check.ts";
import { addIdentityCommands } from "./tree/identity.ts";
import { addLogCommands } from "./tree/log.ts";
import { addMeshCommands } from "./tree/mesh.ts";
import { addNodeCommands } from "./tree/nodes.ts";
import { addProcessCommands } from "./tree/processes.ts";
import { addRuleCommands } from "./tree/rules.ts";

const exitCodesHelp = `
Exit codes:
  0 ok   1 the answer is no   2 usage   3 control plane unreachable   4 not found
  5 timed out   65 unreadable input   70 something Troth needs is broken`;

/** The command tree of `troth`; each command loads what it needs when it runs. */
export function buildProgram(defaultDirectory: string): Command {
  const program = new Command("troth")
    .description("A service mesh in which every request proves who sent it.")
    .version("0.1.0")
    .option("--dir <path>", "directory of the mesh (TROTH_DIR)", defaultDirectory)
    .addHelpText("after", exitCodesHelp)
    .showHelpAfterError("(see --help)")
    .exitOverride();
  for (const add of [
    addMeshCommands,
    addCheckCommand,
    addRuleCommands,
    addIdentityCommands,
    addLogCommands,
    addNodeCommands,
    addAttackCommands,
    addProcessCommands,
  ])
    add(program);
  allowDirEverywhere(program, program);
  return program;
}

/** `--dir` may stand before or after the command. */
function allowDirEverywhere(program: Command, parent: Command): void {
  for (const command of parent.commands) {
    command
      .option("--dir <path>", "directory of the mesh (TROTH_DIR)")
      .exitOverride()
      .showHelpAfterError("(see --help)");
    command.hook("preAction", (_, action) => {
      const given: unknown = action.getOptionValue("dir");
      if (typeof given === "string") program.setOptionValue("dir", given);
    });
    allowDirEverywhere(program, command);
  }
}
